"""Weights as MLX wants them, written beside their program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.backends.mlx_graph.array import mx
from engines.backends.mlx_graph.lower import transposed_kernel
from engines.backends.mlx_graph.program import Program
from engines.backends.mlx_graph.run import PROGRAM, WEIGHTS

if TYPE_CHECKING:
    import torch


def save(program: Program, weights: dict[str, torch.Tensor], folder: Path) -> None:
    """Write `program.json` and `weights.safetensors`."""
    stored: dict[str, Any] = {}
    for name, constant in program.constants.items():
        weight = weights[name]
        if constant.kind == "kernel":
            stored[constant.tensor] = to_mlx(_channels_last(weight, name, program))
        elif constant.kind == "quantised":
            array, scales, biases = mx.quantize(to_mlx(weight), group_size=constant.group, bits=constant.bits)
            stored[constant.tensor] = array
            stored[f"{constant.tensor}.scales"] = scales
            stored[f"{constant.tensor}.biases"] = biases
        else:
            stored[constant.tensor] = to_mlx(weight)
    mx.save_safetensors(str(folder / WEIGHTS), stored)
    program.save(folder / PROGRAM)


def _channels_last(weight: torch.Tensor, name: str, program: Program) -> torch.Tensor:
    """(out, in, *spatial), or (in, out, *spatial) where transposed, to (out, *spatial, in)."""
    spatial = range(2, weight.ndim)
    if transposed_kernel(name, program.nodes):
        return weight.permute(1, *spatial, 0)
    return weight.permute(0, *spatial, 1)


def to_mlx(tensor: torch.Tensor) -> Any:
    """numpy has no bfloat16: it goes through float32, which holds every value of it."""
    import torch

    kept = tensor.detach().cpu().contiguous()
    if kept.dtype == torch.bfloat16:
        return mx.array(kept.float().numpy()).astype(mx.bfloat16)
    if kept.dtype == torch.float64:
        kept = kept.float()
    return mx.array(kept.numpy())
