"""Merge a LoRA into a module's weights: W += scale * B A (Hu et al., arXiv 2106.09685, section 4.1).

By hand, so that `peft` is not needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engines.errors import ModelError

if TYPE_CHECKING:
    import torch

ENDINGS: Final = ((".lora_A.weight", ".lora_B.weight"), (".lora.down.weight", ".lora.up.weight"))
"""Diffusers' names, present and former: down, up."""


def merge(module: torch.nn.Module, path: Path, *, prefix: str = "unet.") -> int:
    """Merge in place every pair of `path` whose name begins with `prefix`; returns how many layers changed.

    Raises:
        ModelError: a pair that fits no layer, or no pair at all.
    """
    import torch
    from safetensors.torch import load_file

    weights = load_file(str(path))
    merged = 0
    for down_ending, up_ending in ENDINGS:
        for name, down in weights.items():
            if not (name.startswith(prefix) and name.endswith(down_ending)):
                continue
            layer_name = name[len(prefix) : -len(down_ending)]
            up = weights.get(prefix + layer_name + up_ending)
            try:
                weight: Any = module.get_submodule(layer_name).weight
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
    if merged == 0:
        raise ModelError(
            f"The LoRA {path} holds no weights under diffusers' names ({prefix}*.lora_A.weight)."
        )
    return merged


def _product(up: torch.Tensor | None, down: torch.Tensor) -> torch.Tensor:
    """B A; a convolution's A (r, in, k, k) and B (out, r, 1, 1) become (out, in, k, k)."""
    if up is None:
        raise TypeError("no matching half")
    return up.float().flatten(1) @ down.float().flatten(1)
