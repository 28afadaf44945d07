"""From a part of a model to a torch module with its weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from engines.errors import ModelError
from engines.models.layout import Part

if TYPE_CHECKING:
    import torch

APART: Final = {"PaellaVQModel": "diffusers.pipelines.stable_cascade.pipeline_stable_cascade"}
"""Classes that diffusers does not name at its top, and a module that has them."""
LARGE: Final = 2**30
"""Bytes of weights above which a module is built around the file's own memory: no second copy is made."""


def load(part: Part) -> torch.nn.Module:
    """A fresh module in fp32 eval.

    Raises:
        ModelError: the weights do not fit the class.
    """
    if part.kind.startswith("CLIPText"):
        return _ready(part, _clip(part), _renamed)
    if "encoder" in part.name:
        return _transformers(part)
    if part.name == "upscaler":
        from engines.models.upscaler import network

        return _checked(part, network(part.weights[0]))
    kind = diffusers_class(part.kind)
    return _ready(part, lambda: kind.from_config(dict(part.config)), None)


def outline(part: Part) -> torch.nn.Module:
    """The module without its weights: names and shapes only."""
    import torch

    with torch.device("meta"):
        made: torch.nn.Module
        if "encoder" in part.name:
            import transformers

            kind: Any = getattr(transformers, part.kind)
            made = kind(kind.config_class.from_dict(dict(part.config)))
        else:
            made = diffusers_class(part.kind).from_config(dict(part.config))
    return made


def diffusers_class(name: str) -> Any:
    """A model's class by its name; one that diffusers keeps with its pipeline among them."""
    import diffusers

    if name in APART:
        return getattr(import_module(APART[name]), name)
    return getattr(diffusers, name)


def moving(unet: Part, adapter: Part) -> torch.nn.Module:
    """AnimateDiff: a picture's U-Net with a motion adapter in it.

    Raises:
        ModelError: the two do not fit.
    """
    from diffusers import UNetMotionModel

    try:
        made: torch.nn.Module = UNetMotionModel.from_unet2d(load(unet), load(adapter))
    except ValueError as error:
        raise ModelError(
            f"The motion adapter {adapter.folder} does not fit {unet.folder} ({error}); use one made for it."
        ) from error
    return made.float().eval().requires_grad_(False)


def _clip(part: Part) -> Any:
    import transformers

    kind: Any = getattr(transformers, part.kind)
    return lambda: kind(transformers.CLIPTextConfig(**part.config))


def _transformers(part: Part) -> torch.nn.Module:
    """Any other module of transformers, by its own loader, which knows tied and renamed weights."""
    import torch
    import transformers

    kind: Any = getattr(transformers, part.kind)
    try:
        with _quiet():
            module, found = kind.from_pretrained(
                str(part.folder), dtype=torch.float32, use_safetensors=True, local_files_only=True,
                output_loading_info=True,
            )  # fmt: skip
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise ModelError(
            f"The weights of {part.folder} do not fit {part.kind}; copy or download the model again."
        ) from error
    missing = sorted(name for name in found["missing_keys"] if "pooler" not in name)
    if missing:
        raise ModelError(f"The weights of {part.folder} lack {missing[0]}; copy or download the model again.")
    return _checked(part, module)


def _checked(part: Part, module: Any) -> torch.nn.Module:
    """In fp32 eval, and every weight a number.

    Raises:
        ModelError: a weight is not finite; pictures would be black.
    """
    import torch

    where = part.weights[0] if part.name == "upscaler" else part.folder
    for name, value in module.named_parameters():
        # One pass over the memory: a sum has a number in it that is none if the weights have.
        if not value.sum(dtype=torch.float32).isfinite() and not value.isfinite().all():
            raise ModelError(
                f"The weights of {where} are damaged: {name} holds values that are no numbers; copy or"
                " download the model again."
            )
    ready: torch.nn.Module = module.float().eval().requires_grad_(False)
    return ready


@contextmanager
def _quiet() -> Iterator[None]:
    """The loader shows a progress bar and warns of its own habits."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    bar = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
        if bar:
            logging.enable_progress_bar()


def _ready(part: Part, make: Any, rename: Any) -> torch.nn.Module:
    from safetensors.torch import load_file

    size = sum(path.stat().st_size for path in part.weights)
    if size < LARGE:
        module = make()
    else:
        from accelerate import init_empty_weights  # type: ignore[import-untyped]

        with init_empty_weights(include_buffers=False):
            module = make()
    state: dict[str, torch.Tensor] = {}
    for path in part.weights:
        state |= load_file(str(path))
    if rename is not None:
        state = rename(module.state_dict(), state)
    try:
        missing, unexpected = module.load_state_dict(state, strict=False, assign=size >= LARGE)
    except RuntimeError as error:
        shapes = {name: value.shape for name, value in module.state_dict().items()}
        wrong = next(
            (name for name, value in state.items() if shapes.get(name, value.shape) != value.shape), ""
        )
        at = f" at {wrong}" if wrong else ""
        raise ModelError(
            f"The weights of {part.folder} do not fit {part.kind}{at}; copy or download the model again."
        ) from error
    unexpected = [name for name in unexpected if not name.endswith("position_ids")]
    if missing or unexpected:
        name = (missing or unexpected)[0]
        what = "lack" if missing else "have a surplus tensor"
        raise ModelError(f"The weights of {part.folder} {what} {name}; copy or download the model again.")
    return _checked(part, module)


def _renamed(wanted: Mapping[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """Rename between `text_model.x` and `x`: CLIP's prefix changed with transformers 5."""
    prefix = "text_model."
    outside = ("text_projection",)
    if any(name.startswith(prefix) for name in wanted):
        return {
            name if name.startswith((prefix, *outside)) else prefix + name: value
            for name, value in state.items()
        }
    return {name.removeprefix(prefix): value for name, value in state.items()}
