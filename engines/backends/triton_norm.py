"""Group norm and SiLU in one kernel: a hand-written Triton kernel for CUDA, and its reference.

Eager torch reads and writes a residual block's activations five times between
its convolutions (statistics, normalise, SiLU); the kernel reads them twice and
writes once.  Engines that compile fuse this by themselves.

Checked against the reference in Triton's interpreter on the CPU, and compiled
to machine code for three generations of cards without one; not verified on
device.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import torch
from torch import nn
from torch.nn import functional

BLOCK = 1024
"""Numbers that one turn of a program's loop takes."""


def reference(
    sample: torch.Tensor, groups: int, weight: torch.Tensor, bias: torch.Tensor, eps: float
) -> torch.Tensor:
    """What the kernel computes, (B, C, ...), by torch's own operators."""
    return functional.silu(functional.group_norm(sample, groups, weight, bias, eps))


@functools.cache
def kernel() -> Any:
    """The compiled kernel; Triton is imported when a card asks for it."""
    # Triton 3.9 warns that its default changes; products and sums may be fused here
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
    import triton
    import triton.language as tl

    # Triton reads the source: a constant is one by its annotation, and it knows no other types
    @triton.jit  # type: ignore[untyped-decorator]
    def group_norm_silu(  # type: ignore[no-untyped-def]
        sample, weight, bias, result, groups, channels, size, eps, block: tl.constexpr
    ):
        # one program for each row and group; a group's numbers lie side by side
        row = tl.program_id(0)
        group = row % groups
        count = channels * size
        start = row.to(tl.int64) * count
        total = tl.zeros([block], dtype=tl.float32)
        for at in range(0, count, block):
            place = at + tl.arange(0, block)
            total += tl.load(sample + start + place, mask=place < count, other=0.0).to(tl.float32)
        mean = tl.sum(total, axis=0) / count
        spread = tl.zeros([block], dtype=tl.float32)
        for at in range(0, count, block):
            place = at + tl.arange(0, block)
            inside = place < count
            value = tl.load(sample + start + place, mask=inside, other=0.0).to(tl.float32)
            apart = tl.where(inside, value - mean, 0.0)
            spread += apart * apart
        scale = 1.0 / tl.sqrt(tl.sum(spread, axis=0) / count + eps)
        for at in range(0, count, block):
            place = at + tl.arange(0, block)
            inside = place < count
            channel = group * channels + place // size
            value = tl.load(sample + start + place, mask=inside, other=0.0).to(tl.float32)
            gain = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
            shift = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
            value = (value - mean) * scale * gain + shift
            value = value / (1.0 + tl.exp(-value))
            tl.store(result + start + place, value.to(result.dtype.element_ty), mask=inside)

    return group_norm_silu


def fused(
    sample: torch.Tensor, groups: int, weight: torch.Tensor, bias: torch.Tensor, eps: float
) -> torch.Tensor:
    """`reference` by the kernel; accumulates in float32 whatever the type."""
    given = sample.contiguous()
    result = torch.empty_like(given)
    channels = given.shape[1] // groups
    size = given[0, 0].numel()
    programs = (given.shape[0] * groups,)
    kernel()[programs](given, weight, bias, result, groups, channels, size, eps, block=BLOCK)
    return result


class NormSiLU(nn.Module):
    """A group norm with the SiLU that follows it: the kernel on a CUDA device, the reference elsewhere."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        norm = self.norm
        run = fused if sample.is_cuda else reference
        return run(sample, norm.num_groups, norm.weight, norm.bias, norm.eps)


def fuse_norms(network: nn.Module) -> int:
    """Join norms and SiLUs of a network's residual blocks, in place; how many."""
    found = 0
    for block in list(network.modules()):
        if type(block).__name__ != "ResnetBlock2D" or not isinstance(block.nonlinearity, nn.SiLU):
            continue
        norms: list[Any] = [block.norm1, block.norm2]
        if not all(isinstance(norm, nn.GroupNorm) and norm.affine for norm in norms):
            continue
        block.norm1, block.norm2 = map(NormSiLU, norms)
        projection: Any = block.time_emb_proj
        if projection is not None and not block.skip_time_act:
            block.time_emb_proj = nn.Sequential(nn.SiLU(), projection)
        block.nonlinearity = nn.Identity()
        found += 2
    return found
