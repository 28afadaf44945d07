"""Checkpoints in one file: Stable Diffusion 1, 2 and XL under their first authors' names, opened offline."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engines.errors import ModelError
from engines.models import safetensors_file
from engines.models.bundled_settings import SD2, SD15, SDXL, Settings
from engines.models.layout import INDEX
from engines.paths import asset, cache_folder, locked, new_folder

if TYPE_CHECKING:
    import torch

DENOISER: Final = "model.diffusion_model."
DECODER: Final = "first_stage_model."
CLIP: Final = ("cond_stage_model.transformer.", "conditioner.embedders.0.transformer.")
OPEN_CLIP: Final = ("conditioner.embedders.1.model.", "cond_stage_model.model.")
PREDICTIONS: Final = {"epsilon": "epsilon", "v": "v_prediction"}
"""What a denoiser may predict, as files and users say it, and diffusers."""
SAYS: Final = "modelspec.prediction_type"
"""Where a file's metadata say it (the Stability AI model metadata standard)."""
MARKS: Final = {"v_pred": ("prediction_type", "v_prediction"), "ztsnr": ("rescale_betas_zero_snr", True)}
"""Tensors that say by being there what the scheduler is told."""
MERGES: Final = 49_152 - 256 - 2
"""Of the vocabulary's lines, the first of which is a heading, those that CLIP uses."""


def kind_of(names: Sequence[str] | Mapping[str, Any]) -> Settings | str:
    """The settings of a checkpoint by the names of its tensors, or why it cannot be opened."""
    if not any(name.startswith(DENOISER) for name in names):
        return "holds no whole Stable Diffusion checkpoint (no model.diffusion_model weights)"
    if not any(name.startswith(DECODER) for name in names):
        return "holds no decoder (no first_stage_model weights)"
    if any(name.startswith(OPEN_CLIP[0]) for name in names):
        return SDXL
    if any(name.startswith("conditioner.embedders.0.model.") for name in names):
        return "is SDXL's refiner, which improves pictures and does not draw them"
    if any(name.startswith(OPEN_CLIP[1]) for name in names):
        return SD2
    if any(name.startswith(CLIP[0]) for name in names):
        return SD15
    return "holds no text encoder that is known (no cond_stage_model weights)"


def is_whole(names: Collection[str]) -> bool:
    """Whether a file is one of these checkpoints, or should be."""
    return any(name.startswith(f"{DENOISER}input_blocks.") for name in names)


def folder_of(path: Path, settings: Settings | None = None, prediction: str = "") -> Path:
    """The folder in the cache that a checkpoint was written out to, once for each content.

    `settings` are those of its kind if not given, and `prediction` (`v` or `epsilon`) is what its file says.

    Raises:
        ModelError: no checkpoint, or one that cannot be opened.
    """
    tensors = safetensors_file.header(path)
    found = settings or kind_of(tensors)
    if isinstance(found, str):
        raise ModelError(f"{path} {found}; give a whole checkpoint or a diffusers folder.")
    found = _predicting(path, tensors, found, prediction)
    taken = found["unet"]["in_channels"]
    edge = tensors.get(f"{DENOISER}input_blocks.0.0.weight")
    if edge is not None and edge.shape[1] != taken:
        raise ModelError(
            f"{path} is a model that changes pictures (its denoiser takes {edge.shape[1]} channels and not"
            f" {taken}), which this version does not open from one file; give a text-to-image checkpoint."
        )
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()[:32]
    said = found["scheduler"].get("prediction_type", "")
    folder = cache_folder("checkpoints") / (f"{content}-{said}" if prediction else content)
    with locked(folder):
        if not folder.is_dir():
            with new_folder(folder) as fresh:
                _write(path, found, fresh)
    return folder


def _predicting(
    path: Path, tensors: Mapping[str, safetensors_file.Tensor], settings: Settings, prediction: str
) -> Settings:
    """The settings with what the denoiser predicts: as the user says, or the file.

    Raises:
        ModelError: neither does, of a kind that comes in both; or it is no prediction that is known.
    """
    says = prediction or safetensors_file.metadata(path).get(SAYS, "")
    told: dict[str, Any] = {key: value for mark, (key, value) in MARKS.items() if mark in tensors}
    if says:
        if says not in PREDICTIONS:
            raise ModelError(f"{path} cannot predict {says!r}; add + prediction=v or + prediction=epsilon.")
        told["prediction_type"] = PREDICTIONS[says]
    second = any(name.startswith(OPEN_CLIP[1]) for name in tensors)
    if second and "prediction_type" not in told:
        raise ModelError(
            f"{path} is of Stable Diffusion 2 and does not say what its denoiser predicts; add + prediction=v"
            " (2.0 and 2.1, for 768 pixels) or + prediction=epsilon (their base models, for 512)."
        )
    changed = {**settings, "scheduler": {**settings["scheduler"], **told}}
    if second and told["prediction_type"] == "epsilon":
        for name in ("unet", "vae"):
            changed[name] = {**settings[name], "sample_size": settings[name]["sample_size"] * 2 // 3}
    return changed


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
    state = _part(path, CLIP, strip=True) if name == "text_encoder" else {}
    if state:
        return {key: value for key, value in state.items() if not key.endswith("position_ids")}
    last = int(config["num_hidden_layers"])
    projected = "CLIPTextModelWithProjection" in config["architectures"]
    return {
        key: value
        for key, value in _open_clip(_part(path, OPEN_CLIP, strip=True)).items()
        if f".layers.{last}." not in key and (projected or not key.startswith("text_projection"))
    }


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
