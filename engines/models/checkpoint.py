"""Checkpoints in one file: Stable Diffusion 1 and SDXL under their first authors' names, opened offline."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engines.errors import ModelError
from engines.models import safetensors_file
from engines.models.bundled_settings import SD15, SDXL, Settings
from engines.models.layout import INDEX
from engines.paths import asset, cache_folder, locked, new_folder

if TYPE_CHECKING:
    import torch

DENOISER: Final = "model.diffusion_model."
DECODER: Final = "first_stage_model."
CLIP: Final = ("cond_stage_model.transformer.", "conditioner.embedders.0.transformer.")
OPEN_CLIP: Final = "conditioner.embedders.1.model."
MERGES: Final = 49_152 - 256 - 2
"""Of the vocabulary's lines, the first of which is a heading, those that CLIP uses."""


def kind_of(names: Sequence[str] | Mapping[str, Any]) -> Settings | str:
    """The settings of a checkpoint by the names of its tensors, or why it cannot be opened."""
    if not any(name.startswith(DENOISER) for name in names):
        return "holds no whole Stable Diffusion checkpoint (no model.diffusion_model weights)"
    if not any(name.startswith(DECODER) for name in names):
        return "holds no decoder (no first_stage_model weights)"
    if any(name.startswith(OPEN_CLIP) for name in names):
        return SDXL
    if any(name.startswith("conditioner.embedders.0.model.") for name in names):
        return "is SDXL's refiner, which improves pictures and does not draw them"
    if any(name.startswith("cond_stage_model.model.") for name in names):
        return "is of Stable Diffusion 2, whose file does not say what its denoiser predicts"
    if any(name.startswith(CLIP[0]) for name in names):
        return SD15
    return "holds no text encoder that is known (no cond_stage_model weights)"


def folder_of(path: Path, settings: Settings | None = None) -> Path:
    """The folder in the cache that a checkpoint was written out to, once for each content.

    `settings` are those of its kind if not given.

    Raises:
        ModelError: no checkpoint, or one that cannot be opened.
    """
    tensors = safetensors_file.header(path)
    found = settings or kind_of(tensors)
    if isinstance(found, str):
        raise ModelError(f"{path} {found}; give a whole checkpoint or a diffusers folder.")
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()[:32]
    folder = cache_folder("checkpoints") / content
    with locked(folder):
        if not folder.is_dir():
            with new_folder(folder) as fresh:
                _write(path, found, fresh)
    return folder


def _write(path: Path, settings: Settings, folder: Path) -> None:
    """One component after the other, so that only one is in memory."""
    write_settings(settings, folder)
    for name, values in settings.items():
        if name in ("unet", "vae") or name.startswith("text_encoder"):
            _weights(path, name, values, folder / name)


def write_settings(settings: Settings, folder: Path) -> None:
    """Everything of a model folder but its weights."""
    for name, values in settings.items():
        if name == "index":
            (folder / INDEX).write_text(json.dumps(values, indent=1))
            continue
        (folder / name).mkdir(parents=True, exist_ok=True)
        if name.startswith("tokenizer"):
            _tokenizer(folder / name, values.get("folder"))
            marks = {key: value for key, value in values.items() if key != "folder"}
            (folder / name / "tokenizer_config.json").write_text(json.dumps(_marks(marks)))
        else:
            file = "scheduler_config.json" if name == "scheduler" else "config.json"
            (folder / name / file).write_text(json.dumps(values, indent=1))


def _marks(values: Mapping[str, Any]) -> dict[str, Any]:
    usual = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    return {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **usual, **values}


def _tokenizer(folder: Path, given: str | None) -> None:
    """CLIP's vocabulary (Radford et al., arXiv 2103.00020) in the two files that its tokenizer reads.

    Or the files of a `given` folder.
    """
    if given is not None:
        shutil.copytree(str(given), folder, dirs_exist_ok=True)
        return
    with gzip.open(asset("clip-vocabulary") / "bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8") as file:
        merges = file.read().split("\n")[1 : MERGES + 1]
    letters = _letters()
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(one.split()) for one in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")


def _letters() -> list[str]:
    """A visible letter for each byte, in the order of CLIP's vocabulary; printable ones are themselves."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + index) for index in range(len(hidden))]


def _weights(path: Path, name: str, config: Mapping[str, Any], folder: Path) -> None:
    from safetensors.torch import save_file

    try:
        state = _converted(path, name, config)
    except (KeyError, AttributeError, IndexError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be converted: its {name} is not of the shape that was expected ({error});"
            " give a diffusers folder."
        ) from error
    stem = "model" if "encoder" in name else "diffusion_pytorch_model"
    save_file({key: value.contiguous() for key, value in state.items()}, str(folder / f"{stem}.safetensors"))


def _converted(path: Path, name: str, config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    from diffusers.loaders import single_file_utils as names

    if name == "unet":
        taken = _part(path, (DENOISER,), strip=False)
        unet: dict[str, torch.Tensor] = names.convert_ldm_unet_checkpoint(taken, dict(config))
        return unet
    if name == "vae":
        taken = _part(path, (DECODER,), strip=False)
        vae: dict[str, torch.Tensor] = names.convert_ldm_vae_checkpoint(taken, dict(config))
        return vae
    if name == "text_encoder":
        state = _part(path, CLIP, strip=True)
        return {key: value for key, value in state.items() if not key.endswith("position_ids")}
    return _open_clip(_part(path, (OPEN_CLIP,), strip=True))


def _part(path: Path, prefixes: tuple[str, ...], *, strip: bool) -> dict[str, torch.Tensor]:
    """The tensors under one of the prefixes; the rest is not read."""
    from safetensors import safe_open

    found = {}
    with safe_open(str(path), framework="pt") as file:
        for key in file.keys():  # noqa: SIM118 - not a dictionary
            prefix = next((one for one in prefixes if key.startswith(one)), None)
            if prefix is not None:
                found[key.removeprefix(prefix) if strip else key] = file.get_tensor(key)
    return found


def _open_clip(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """OpenCLIP's names to those of transformers; its joint projections are taken apart."""
    plain = {
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "ln_final.weight": "text_model.final_layer_norm.weight",
        "ln_final.bias": "text_model.final_layer_norm.bias",
    }
    inner = {
        "ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
        "attn.out_proj": "self_attn.out_proj",
    }  # fmt: skip
    found: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        if key in plain:
            found[plain[key]] = value
        elif key == "text_projection":
            found["text_projection.weight"] = value.T
        elif key.startswith("transformer.resblocks."):
            _, _, number, rest = key.split(".", 3)
            place = f"text_model.encoder.layers.{number}"
            if rest.startswith("attn.in_proj_"):
                ending = rest.removeprefix("attn.in_proj_")
                for part, one in zip("qkv", value.chunk(3), strict=True):
                    found[f"{place}.self_attn.{part}_proj.{ending}"] = one
            else:
                stem, _, ending = rest.rpartition(".")
                found[f"{place}.{inner[stem]}.{ending}"] = value
    return found
