"""Merge a LoRA into a module's weights: W += scale * B A (Hu et al., arXiv 2106.09685, section 4.1).

By hand, so that `peft` is not needed; `lora_names` reads whoever's file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engines.errors import ModelError, UnsafeWeights
from engines.measure.quality import READER
from engines.models import safetensors_file, weights
from engines.models.layout import Part
from engines.models.licence import link_texts
from engines.models.lora_names import (
    ALPHA,
    BIAS,
    DIFF,
    DIFF_BIAS,
    DORA,
    DOWN,
    MAGNITUDE,
    UP,
    Pieces,
    Read,
    grouped,
    read,
    said_of,
)
from engines.paths import cache_folder, digest, link, locked, new_folder

if TYPE_CHECKING:
    import torch

    from engines.models.model import Model

MADE_FOR: Final = "use one made for this model"


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
    module: torch.nn.Module, found: Mapping[str, torch.Tensor], path: Path, *, prefix: str
) -> int:
    """As `merge`, of weights that are read already; 0 where none begins with `prefix`."""
    import torch

    own = {name[len(prefix) :]: value for name, value in found.items() if name.startswith(prefix)}
    layers = grouped(own, path)
    for name, pieces in layers.items():
        try:
            with torch.no_grad():
                _merge_layer(_layer(module, name), pieces)
        except (AttributeError, RuntimeError, TypeError) as error:
            raise ModelError(
                f"The LoRA {path} does not fit this model at {name}; use the LoRA made for it."
            ) from error
    return len(layers)


def _merge_layer(layer: Any, pieces: Pieces) -> None:
    """One layer's weight and bias, in place.

    A DoRA's direction is that of the merged weight and its lengths, by rows or by columns, are the file's:
    W' = m (W + s B A) / |W + s B A| (Liu et al., arXiv 2402.09353, equation 5).

    Raises:
        TypeError: half of a pair, or a DoRA with a bias of its own.
    """
    weight: torch.Tensor = layer.weight
    scale = 1.0
    if DOWN in pieces or UP in pieces:
        delta = _product(pieces.get(UP), pieces.get(DOWN)).reshape(weight.shape)
        if ALPHA in pieces:
            scale = float(pieces[ALPHA]) / pieces[DOWN].shape[0]
        weight.add_(delta.to(weight.dtype), alpha=scale)
    elif not {DIFF, DIFF_BIAS} & set(pieces):
        raise TypeError("no pair of halves")
    if DIFF in pieces:
        weight.add_(pieces[DIFF].reshape(weight.shape).to(weight.dtype))
    for ending, factor in ((BIAS, scale), (DIFF_BIAS, 1.0)):
        if ending in pieces:
            layer.bias.add_(pieces[ending].reshape(layer.bias.shape).to(layer.bias.dtype), alpha=factor)
    if MAGNITUDE in pieces or DORA in pieces:
        if BIAS in pieces:
            raise TypeError("a DoRA has no bias")
        weight.copy_(_lengthened(weight.float(), pieces))


def _lengthened(weight: torch.Tensor, pieces: Pieces) -> torch.Tensor:
    """`peft` keeps lengths of rows, (out,) or (1, out, 1, 1); others of rows (out, 1) or columns (1, in)."""
    rows = MAGNITUDE in pieces or pieces[DORA].shape[0] == weight.shape[0]
    axis = 0 if rows else 1
    shape = [1] * weight.dim()
    shape[axis] = -1
    lengths = pieces[MAGNITUDE if MAGNITUDE in pieces else DORA].float().reshape(shape)
    found = weight.transpose(0, axis).flatten(1).norm(dim=1).reshape(shape)
    if lengths.shape != found.shape:
        raise TypeError("lengths of another weight")
    merged: torch.Tensor = weight * (lengths / found)
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
    folder = cache_folder("merged") / digest(3, model.hash, content(path))
    with locked(folder):
        if not folder.is_dir():
            with new_folder(folder) as fresh:
                _write_merged(model, path, fresh)
        link_texts(model.path, folder)
        if (model.path / READER).is_file() and not (folder / READER).exists():
            link(model.path / READER, folder / READER)  # it judges this model's pictures still
    return folder


def content(path: Path) -> str:
    """What a LoRA's file holds and what is said beside it, as one word.

    Raises:
        ModelError: what is said cannot be read.
    """
    with path.open("rb") as file:
        return digest(hashlib.file_digest(file, "sha256").hexdigest(), said_of(path))


def _write_merged(model: Model, path: Path, folder: Path) -> None:
    from safetensors.torch import save_file

    parts = [model.layout.denoiser, *model.text_parts]
    found = read(model, path, parts, lambda name: weights.outline(model.layout.parts[name]))
    _refuse_lost(found, model, path)
    changed: dict[str, Part] = {}
    for name, own in found.parts.items():
        module = model.part(name)
        merge_weights(module, own, path, prefix=f"{name}.")
        changed[name] = model.layout.parts[name]
        place = folder / changed[name].folder.name
        place.mkdir()
        stem = "model" if "encoder" in name else "diffusion_pytorch_model"
        state = {key: value.contiguous() for key, value in module.state_dict().items()}
        save_file(state, str(place / f"{stem}.safetensors"))
    if not changed:
        raise ModelError(f"The LoRA {path} holds no weights for {' or '.join(parts)}; use one made for it.")
    link_files(model, folder, {file for part in changed.values() for file in part.weights})


def _refuse_lost(found: Read, model: Model, path: Path) -> None:
    if found.lost:
        parts = ", ".join([model.layout.denoiser, *model.text_parts])
        raise ModelError(
            f"The LoRA {path} holds weights for {next(iter(found.lost))} ({len(found.lost)} layers in all),"
            f" which is in no part of this model ({parts}); {MADE_FOR}."
        )


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
    name = model.layout.denoiser
    module = weights.outline(model.denoiser)
    found = read(model, path, [name], lambda _: module)
    _refuse_lost(found, model, path)
    own = dict(found.parts.get(name, {}))
    shapes = {key: value if key.endswith(f".{ALPHA}") else value.to("meta") for key, value in own.items()}
    if merge_weights(module, shapes, path, prefix=f"{name}.") == 0:
        raise ModelError(f"The LoRA {path} holds no weights for the {name}; {MADE_FOR}.")
    return own, sum(len(pieces) for pieces in found.left.values())


def _product(up: torch.Tensor | None, down: torch.Tensor | None) -> torch.Tensor:
    """B A; a convolution's A (r, in, k, k) and B (out, r, 1, 1) become (out, in, k, k)."""
    if up is None or down is None:
        raise TypeError("no matching half")
    return up.float().flatten(1) @ down.float().flatten(1)
