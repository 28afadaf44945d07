"""Merge a LoRA into a module's weights: W += scale * B A (Hu et al., arXiv 2106.09685, section 4.1).

By hand, so that `peft` is not needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from engines.errors import ModelError, UnsafeWeights
from engines.measure.quality import READER
from engines.models import safetensors_file
from engines.models.layout import Part
from engines.models.licence import link_texts
from engines.paths import cache_folder, digest, link, locked, new_folder

if TYPE_CHECKING:
    import torch

    from engines.models.model import Model

MADE_FOR: Final = "use one made for this model"
PEFT: Final = "base_model.model."
"""What `peft` puts before a layer's name where it saves an adapter by itself."""
ENDINGS: Final = ((".lora_A.weight", ".lora_B.weight"), (".lora.down.weight", ".lora.up.weight"))
"""Diffusers' names, present and former: down, up."""
FLAT: Final = {
    "unet": ("lora_unet_",), "transformer": ("lora_transformer_", "lora_unet_"),
    "text_encoder": ("lora_te1_", "lora_te_"), "text_encoder_2": ("lora_te2_",),
}  # fmt: skip
"""What trainers (kohya) put before a layer's name, whose dots they turn into underscores."""
FLAT_ENDINGS: Final = {
    "lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight", "alpha": "alpha",
}  # fmt: skip


def merge(module: torch.nn.Module, path: Path, *, prefix: str) -> int:
    """Merge in place every pair of `path` whose name begins with `prefix`; returns how many layers changed.

    Raises:
        ModelError: a pair that fits no layer, or no pair at all.
    """
    from safetensors.torch import load_file

    merged = merge_weights(module, load_file(str(path)), path, prefix=prefix)
    if merged == 0:
        raise ModelError(
            f"The LoRA {path} holds no weights under diffusers' names ({prefix}*.lora_A.weight)."
        )
    return merged


def merge_weights(
    module: torch.nn.Module, weights: Mapping[str, torch.Tensor], path: Path, *, prefix: str
) -> int:
    """As `merge`, of weights that are read already; 0 where none begins with `prefix`."""
    import torch

    merged = 0
    for down_ending, up_ending in ENDINGS:
        for name, down in weights.items():
            if not (name.startswith(prefix) and name.endswith(down_ending)):
                continue
            layer_name = name[len(prefix) : -len(down_ending)]
            up = weights.get(prefix + layer_name + up_ending)
            try:
                weight: Any = _layer(module, layer_name).weight
                delta = _product(up, down).reshape(weight.shape)
            except (AttributeError, RuntimeError, TypeError) as error:
                raise ModelError(
                    f"The LoRA {path} does not fit this model at {layer_name}; use the LoRA made for it."
                ) from error
            alpha = weights.get(f"{prefix}{layer_name}.alpha")
            scale = 1.0 if alpha is None else float(alpha) / down.shape[0]
            with torch.no_grad():
                weight.add_(delta.to(weight.dtype), alpha=scale)
            merged += 1
    return merged


def _layer(module: torch.nn.Module, name: str) -> torch.nn.Module:
    """CLIP's prefix `text_model` went with transformers 5; LoRAs still have it."""
    try:
        return module.get_submodule(name)
    except AttributeError:
        return module.get_submodule(name.removeprefix("text_model."))


def merged_folder(model: Model, path: Path) -> Path:
    """A folder in the cache that holds a model with a LoRA merged into it, once for each pair of contents.

    Names of diffusers, of `peft` and of the trainers' own (kohya) are understood.

    Raises:
        ModelError: no such file, or a LoRA that does not fit the model.
    """
    if not path.is_file():
        raise ModelError(f"There is no LoRA {path}; give a .safetensors file.")
    if path.suffix != ".safetensors":
        raise UnsafeWeights(f"The LoRA {path} is no .safetensors file; use one, others can run code.")
    safetensors_file.header(path)
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    folder = cache_folder("merged") / digest(1, model.hash, content)
    with locked(folder):
        if not folder.is_dir():
            with new_folder(folder) as fresh:
                _write_merged(model, path, fresh)
        link_texts(model.path, folder)
        if (model.path / READER).is_file() and not (folder / READER).exists():
            link(model.path / READER, folder / READER)  # it judges this model's pictures still
    return folder


def _write_merged(model: Model, path: Path, folder: Path) -> None:
    from safetensors.torch import save_file

    weights = _read(model, path)
    parts = [model.layout.denoiser, *model.text_parts]
    changed: dict[str, Part] = {}
    for name in parts:
        if not _has(weights, name):
            continue
        module = model.part(name)
        if merge_weights(module, _for_part(weights, name, module, path), path, prefix=f"{name}."):
            changed[name] = model.layout.parts[name]
            place = folder / changed[name].folder.name
            place.mkdir()
            stem = "model" if "encoder" in name else "diffusion_pytorch_model"
            state = {key: value.contiguous() for key, value in module.state_dict().items()}
            save_file(state, str(place / f"{stem}.safetensors"))
    if not changed:
        raise ModelError(f"The LoRA {path} holds no weights for {' or '.join(parts)}; use one made for it.")
    link_files(model, folder, {weight for part in changed.values() for weight in part.weights})


def link_files(model: Model, folder: Path, without: Collection[Path]) -> None:
    """Link a model's files into another folder, but for those that it has its own of."""
    kept = [part for part in model.layout.parts.values() if not set(part.weights) & set(without)]
    shards = [file for part in kept for file in part.folder.glob("*.index*.json")]
    for file in (*model.layout.files(), *shards):
        if file not in without:
            target = folder / file.relative_to(model.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            link(file, target)


def fitting(model: Model, path: Path) -> tuple[dict[str, torch.Tensor], int]:
    """A LoRA's weights for the denoiser under diffusers' names, and how many tensors are for other parts.

    Raises:
        ModelError: the first layer that does not fit, or no weights for the denoiser.
    """
    from engines.models import weights

    name = model.layout.denoiser
    read = {
        (f"{name}.{key.removeprefix(PEFT)}" if key.startswith(PEFT) else key): value
        for key, value in _read(model, path).items()
    }
    module = weights.outline(model.denoiser)
    found = _for_part(read, name, module, path)
    endings = tuple(one for pair in ENDINGS for one in pair)
    for key in found:
        if not key.endswith((*endings, ".alpha")):
            raise ModelError(
                f"The LoRA {path} does not fit this model at {key}, of a form that is not known;"
                " use the LoRA made for it."
            )
    shapes = {key: value if key.endswith(".alpha") else value.to("meta") for key, value in found.items()}
    if merge_weights(module, shapes, path, prefix=f"{name}.") == 0:
        raise ModelError(f"The LoRA {path} holds no weights for the {name}; {MADE_FOR}.")
    own = sum(key.startswith((f"{name}.", *FLAT.get(name, ()))) for key in read)
    return {key: value.contiguous() for key, value in found.items()}, len(read) - own


def _read(model: Model, path: Path) -> dict[str, torch.Tensor]:
    """The LoRA's weights; names of the first authors' blocks become those of diffusers."""
    from safetensors.torch import load_file

    found: dict[str, torch.Tensor] = load_file(str(path))
    if not any(name.startswith("lora_unet_") and "_blocks_" in name for name in found):
        return found
    if any(name.startswith(("lora_unet_input_blocks_", "lora_unet_output_blocks_")) for name in found):
        from diffusers.loaders import lora_conversion_utils as conversion

        config = SimpleNamespace(**model.denoiser.config)
        try:
            renamed: dict[str, torch.Tensor] = conversion._maybe_map_sgm_blocks_to_diffusers(found, config)  # noqa: SLF001 - diffusers has no public name for it
        except (ValueError, KeyError, AttributeError) as error:
            raise ModelError(f"The LoRA {path} is of a form that is not known ({error}).") from error
        return renamed
    return found


def _for_part(
    weights: Mapping[str, torch.Tensor], name: str, module: torch.nn.Module, path: Path
) -> dict[str, torch.Tensor]:
    """What a LoRA holds for one part, under diffusers' names, whoever trained it."""
    found = {key: value for key, value in weights.items() if key.startswith(f"{name}.")}
    places = {place.replace(".", "_"): place for place, _ in module.named_modules()}
    for key, value in weights.items():
        prefix = next((one for one in FLAT.get(name, ()) if key.startswith(one)), None)
        if prefix is None:
            continue
        flat, _, ending = key.removeprefix(prefix).partition(".")
        place = places.get(flat) or places.get(flat.removeprefix("text_model_"))
        if place is None or ending not in FLAT_ENDINGS:
            raise ModelError(
                f"The LoRA {path} does not fit this model at {flat}.{ending}; use the LoRA made for it."
            )
        found[f"{name}.{place}.{FLAT_ENDINGS[ending]}"] = value
    return found


def _has(weights: Mapping[str, torch.Tensor], name: str) -> bool:
    return any(key.startswith((f"{name}.", *FLAT.get(name, ()))) for key in weights)


def _product(up: torch.Tensor | None, down: torch.Tensor) -> torch.Tensor:
    """B A; a convolution's A (r, in, k, k) and B (out, r, 1, 1) become (out, in, k, k)."""
    if up is None:
        raise TypeError("no matching half")
    return up.float().flatten(1) @ down.float().flatten(1)
