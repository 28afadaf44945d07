"""What a LoRA file says, whoever named its layers, under diffusers' names: `PART.LAYER.ENDING`.

Understood: diffusers' names, present and former; those of `peft`; kohya's, dots turned into underscores;
ComfyUI's (`diffusion_model.`) and XLabs', with the layers of a model's first authors.  Nothing is left out in
silence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from engines.errors import ModelError
from engines.models import safetensors_file
from engines.models.lora_layers import Place, made_for, places

if TYPE_CHECKING:
    import torch

    from engines.models.model import Model

Pieces = dict[str, "torch.Tensor"]
"""What a LoRA holds for one layer, by ending."""

DOWN, UP, BIAS = "lora_A.weight", "lora_B.weight", "lora_B.bias"
ALPHA, MAGNITUDE, DORA = "alpha", "lora_magnitude_vector", "dora_scale"
DIFF, DIFF_BIAS = "diff", "diff_b"
ENDINGS: Final[Mapping[str, str]] = {
    **{one: one for one in (DOWN, UP, BIAS, ALPHA, MAGNITUDE, DORA, DIFF, DIFF_BIAS)},
    "lora.down.weight": DOWN, "lora.up.weight": UP, "lora_down.weight": DOWN, "lora_up.weight": UP,
    "lora_linear_layer.down.weight": DOWN, "lora_linear_layer.up.weight": UP,
    "lora_A.default.weight": DOWN, "lora_B.default.weight": UP, "lora_B.default.bias": BIAS,
    "lora_magnitude_vector.weight": MAGNITUDE, "lora_magnitude_vector.default.weight": MAGNITUDE,
    "down.weight": DOWN, "up.weight": UP,
}  # fmt: skip
"""Whoever wrote it: the end of a tensor's name to ours."""
OTHERS: Final[Mapping[str, str]] = {
    ".hada_": "a LoHa", ".lokr_": "a LoKr", ".lora_mid.": "a LoCon with a core tensor", ".oft_": "an OFT",
    ".on_input": "an IA3", ".vera_lambda": "a VeRA", ".a1.weight": "a GLoRA", ".a2.weight": "a GLoRA",
    ".b1.weight": "a GLoRA", ".b2.weight": "a GLoRA", ".w_norm": "a LyCORIS of norms",
    ".b_norm": "a LyCORIS of norms", ".lora_embedding_": "a LoRA of embeddings",
    ".set_weight": "a whole weight", ".reshape_weight": "a LoRA for another shape",
}  # fmt: skip
"""What a tensor's name has in it to the kind of adapter that it is of."""
DOTTED: Final[Mapping[str, tuple[str, ...]]] = {
    "denoiser": ("base_model.model.", "model.diffusion_model.", "diffusion_model."),
    "text_encoder": ("text_encoders.clip_l.transformer.",),
    "text_encoder_2": ("text_encoders.clip_g.transformer.",),
    "t5": ("text_encoders.t5xxl.transformer.",),
}
"""What stands before a layer's name in the files of `peft` and ComfyUI."""
FLAT: Final[Mapping[str, tuple[str, ...]]] = {
    "denoiser": ("lora_transformer_", "lora_unet_"), "text_encoder": ("lora_te1_", "lora_te_"),
    "text_encoder_2": ("lora_te2_",), "t5": ("lora_te3_",),
}  # fmt: skip
"""What trainers (kohya) put before a layer's name, whose dots they turn into underscores."""
_FORMER: Final = re.compile(r"(?:\.processor)?\.to_(q|k|v|out)_lora$")
_SGM: Final = {"input_blocks": "down_blocks", "middle_block": "mid_block", "output_blocks": "up_blocks"}
_SGM_LAYERS: Final = {
    "in_layers_2": "conv1", "out_layers_3": "conv2", "emb_layers_1": "time_emb_proj",
    "skip_connection": "conv_shortcut", "downsamplers_0_op": "downsamplers_0_conv",
    "time_embed_0": "time_embedding_linear_1", "time_embed_2": "time_embedding_linear_2",
    "label_emb_0_0": "add_embedding_linear_1", "label_emb_0_2": "add_embedding_linear_2",
    "input_blocks_0_0": "conv_in", "out_2": "conv_out",
}  # fmt: skip
"""The ends of the first authors' layers of a U-Net, within blocks that are diffusers' already."""
METADATA: Final = "lora_adapter_metadata"
"""Where diffusers writes what `peft` was told, alpha among it."""


@dataclass(frozen=True, slots=True)
class Read:
    """A LoRA's weights."""

    parts: Mapping[str, Mapping[str, torch.Tensor]]
    """By part of the model, those asked for: names under diffusers'."""
    left: Mapping[str, Pieces]
    """Layers of other parts of the model, as the file names them."""
    lost: Mapping[str, Pieces]
    """Layers of no part of the model; not those that change nothing."""


def split(name: str, path: Path) -> tuple[str, str]:
    """A tensor's name as its layer and our ending.

    Raises:
        ModelError: an ending that is not known, with the kind of adapter that it betrays.
    """
    for ending, ours in ENDINGS.items():
        if name.endswith(f".{ending}"):
            return name[: -len(ending) - 1], ours
    kind = next((title for mark, title in OTHERS.items() if mark in name), "")
    if kind:
        raise ModelError(
            f"The LoRA {path} is {kind} at {name}, which this version merges none of;"
            " use a plain LoRA or a DoRA, or have its trainer merge it."
        )
    raise ModelError(
        f"The LoRA {path} does not fit this model at {name}, of a form that is not known;"
        " use the LoRA made for it."
    )


def grouped(weights: Mapping[str, torch.Tensor], path: Path) -> dict[str, Pieces]:
    """What there is for each layer.

    Raises:
        ModelError: as `split`.
    """
    found: dict[str, Pieces] = {}
    for name, value in weights.items():
        layer, ending = split(name, path)
        found.setdefault(layer, {})[ending] = value
    return found


def read(model: Model, path: Path, wanted: Sequence[str], outline: Callable[[str], torch.nn.Module]) -> Read:
    """A LoRA's weights for the `wanted` parts of a model; `outline` gives a part's module, shapes are enough.

    Raises:
        ModelError: a layer that the part has not, or a kind of adapter that is not known.
    """
    from safetensors.torch import load_file

    layers = grouped(_blocks_renamed(model, load_file(str(path)), path), path)
    _add_alphas(layers, path)
    names: dict[str, _Names] = {}
    parts: dict[str, dict[str, torch.Tensor]] = {}
    left: dict[str, Pieces] = {}
    lost: dict[str, Pieces] = {}
    for layer, pieces in layers.items():
        part, prefix, rest = _part(model, layer)
        if part not in wanted:
            (left if part else lost)[layer] = pieces
            continue
        if part not in names:
            names[part] = _Names(outline(part), model.layout.parts[part].kind)
        place = names[part].flat(rest) if prefix in _FLAT_PREFIXES else names[part].dotted(rest)
        if place is None:
            if part == model.layout.denoiser and not prefix:
                lost[layer] = pieces
                continue
            raise _misfit(path, rest, model)
        for one, shared in names[part].shared(place, pieces, rest, path).items():
            parts.setdefault(part, {}).update(
                {f"{part}.{one}.{ending}": value.contiguous() for ending, value in shared.items()}
            )
    return Read(parts, left, {layer: pieces for layer, pieces in lost.items() if not _idle(pieces)})


def _idle(pieces: Pieces) -> bool:
    """Whether it changes nothing: trainers write zeros for parts that they did not train."""
    changing = [value for ending, value in pieces.items() if ending not in (DOWN, ALPHA, DORA, MAGNITUDE)]
    return not any(value.any() for value in changing)


_FLAT_PREFIXES: Final = tuple(one for prefixes in FLAT.values() for one in prefixes)


def _misfit(path: Path, layer: str, model: Model) -> ModelError:
    family, own = made_for([layer]), f"{model.family} {model.layout.denoiser}".replace("-", "")
    advice = (
        f"it looks like one for {family}; " if family and family.lower().replace(" ", "") not in own else ""
    )
    return ModelError(
        f"The LoRA {path} does not fit this model at {layer}; {advice}use the LoRA made for it."
    )


def _part(model: Model, layer: str) -> tuple[str, str, str]:
    """The part that a layer is of (empty: none that is known), the prefix that says so, what is behind it."""
    for part in (model.layout.denoiser, *model.text_parts):
        role = "denoiser" if part == model.layout.denoiser else part
        if model.layout.parts[part].kind.startswith(("T5", "UMT5")):
            role = "t5"
        for prefix in (f"{part}.", *DOTTED.get(role, ()), *FLAT.get(role, ())):
            if layer.startswith(prefix):
                return part, prefix, layer.removeprefix(prefix)
    known = any(layer.startswith(one) for table in (DOTTED, FLAT) for ones in table.values() for one in ones)
    if known or layer.startswith(("unet.", "transformer.", "text_encoder")):
        return "", "", layer
    return model.layout.denoiser, "", layer  # a denoiser's alone: XLabs, and trainers of video


class _Names:
    """How one part's layers may be called."""

    def __init__(self, module: torch.nn.Module, kind: str) -> None:
        self._module = module
        own = {name: Place((name,)) for name, _ in module.named_modules() if name}
        self._dotted = places(kind, own) | own
        self._flat = {name.replace(".", "_"): place for name, place in self._dotted.items()}

    def dotted(self, name: str) -> Place | None:
        former = _FORMER.sub(lambda found: f".to_{found[1]}" + (".0" if found[1] == "out" else ""), name)
        words = _FORMER.sub(lambda found: f".{found[1]}_proj", name)
        tried = (name, former, words, *(one.removeprefix("text_model.") for one in (name, words)))
        return next((self._dotted[one] for one in tried if one in self._dotted), None)

    def flat(self, name: str) -> Place | None:
        sgm = next(
            (
                name.removesuffix(theirs) + ours
                for theirs, ours in _SGM_LAYERS.items()
                if name.endswith(theirs)
            ),
            name,
        )
        for theirs, ours in _SGM.items():
            sgm = sgm.replace(theirs, ours)
        tried = (name, sgm, name.removeprefix("text_model_"))
        return next((self._flat[one] for one in tried if one in self._flat), None)

    def shared(self, place: Place, pieces: Pieces, name: str, path: Path) -> dict[str, Pieces]:
        """The pieces of one layer of the file for each layer of the model that it is."""
        import torch

        if len(place.layers) == 1 and not place.swapped:
            return {place.layers[0]: pieces}
        sizes = [int(self._weight(one).shape[0]) for one in place.layers]
        if DORA in pieces and pieces[DORA].shape[0] != sum(sizes):
            raise ModelError(
                f"The LoRA {path} is a DoRA by columns at {name}, where this model has {len(sizes)} layers"
                " whose columns cannot be told apart; use a plain LoRA."
            )
        found: dict[str, Pieces] = {one: {} for one in place.layers}
        for ending, value in pieces.items():
            if ending in (DOWN, ALPHA):
                for shared in found.values():
                    shared[ending] = value.clone()
                continue
            rows = value.flatten() if ending == MAGNITUDE else value
            if rows.shape[0] != sum(sizes):
                raise ModelError(
                    f"The LoRA {path} does not fit this model at {name}; use the LoRA made for it."
                )
            if place.swapped:
                rows = rows.roll(sum(sizes) // 2, dims=0)
            for shared, one in zip(found.values(), torch.split(rows, sizes), strict=True):
                shared[ending] = one.clone()
        return found

    def _weight(self, name: str) -> torch.Tensor:
        weight: Any = self._module.get_submodule(name).weight
        found: torch.Tensor = weight
        return found


def _blocks_renamed(model: Model, weights: dict[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """Of a U-Net, the first authors' blocks are numbered as diffusers does; kohya's names and ComfyUI's."""
    prefixes = ("lora_unet_", *DOTTED["denoiser"])
    theirs = {name for name in weights if name.startswith(prefixes) and any(one in name for one in _SGM)}
    if model.layout.denoiser != "unet" or not theirs:
        return weights
    flat = {}
    for name, value in weights.items():
        prefix = next((one for one in DOTTED["denoiser"] if name.startswith(one)), None)
        if prefix is not None:
            layer, ending = split(name, path)
            flat[f"lora_unet_{layer.removeprefix(prefix).replace('.', '_')}.{ending}"] = value
        else:
            flat[name] = value
    if any("_down_blocks_" in name or "_up_blocks_" in name for name in flat):
        return flat  # both namings: what is the first authors' will not fit, and is said
    from diffusers.loaders import lora_conversion_utils as conversion

    config = SimpleNamespace(**model.denoiser.config)
    try:
        renamed: dict[str, torch.Tensor] = conversion._maybe_map_sgm_blocks_to_diffusers(flat, config)  # noqa: SLF001 - diffusers has no public name for it
    except (ValueError, KeyError, AttributeError, IndexError) as error:
        raise ModelError(f"The LoRA {path} is of a form that is not known ({error}).") from error
    return renamed


def _add_alphas(layers: Mapping[str, Pieces], path: Path) -> None:
    """What `peft` says beside the weights: diffusers in the file's metadata, `peft` in a file of its own."""
    import torch

    said = said_of(path)
    for layer, pieces in layers.items():
        if ALPHA in pieces or DOWN not in pieces:
            continue
        prefix = next((one for one in said if layer.startswith(one)), None)
        if prefix is None:
            continue
        rank = pieces[DOWN].shape[0]
        told, name = said[prefix], layer.removeprefix(prefix)
        patterns: Iterable[tuple[str, Any]] = (told.get("alpha_pattern") or {}).items()
        alpha = next(
            (one for mark, one in patterns if re.fullmatch(rf"(.*\.)?({mark})", name)), told.get("lora_alpha")
        )
        if isinstance(alpha, int | float):
            root = rank**0.5 if told.get("use_rslora") else 1.0
            pieces[ALPHA] = torch.tensor(float(alpha) * root)


def said_of(path: Path) -> dict[str, dict[str, Any]]:
    """A layer's prefix to what `peft` was told of the layers under it."""
    found: dict[str, dict[str, Any]] = {}
    try:
        text = safetensors_file.metadata(path).get(METADATA, "{}")
        for name, value in json.loads(text).items():
            part, _, key = name.partition(".")
            found.setdefault(f"{part}.", {})[key] = value
        beside = path.parent / "adapter_config.json"
        if beside.is_file():
            found["base_model.model."] = dict(json.loads(beside.read_text(encoding="utf-8")))
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise ModelError(f"What the LoRA {path} says of itself cannot be read ({error}).") from error
    return found
