"""Attention that leaves out what weighs nothing: a hand-written Triton kernel for CUDA, and its reference.

In a long row of attention most keys' weights are close to zero.  The kernel goes
over the keys in blocks, as FlashAttention does, keeping each row's largest score
so far.  A block whose largest weight beside it would be below `threshold` in
every row of the tile is left out: its scores are computed, its softmax and its
values are not, and the values are not read (BLASST, arXiv 2512.12087; NVIDIA's
skip-softmax).  The threshold is a share that falls with the number of keys, so
that what is left out as a whole stays as small in a long row as in a short one.

Checked against the reference in Triton's interpreter on the CPU, and compiled to
machine code for three generations of cards without one; not verified on device.
"""

from __future__ import annotations

import functools
import os
from typing import Any, Final

import torch

QUERIES: Final = 64
"""Rows of a tile."""
KEYS: Final = 64
"""Keys of a block."""
HEADS: Final = (16, 32, 64, 128)
"""Sizes of heads that the kernel is written for."""


def reference(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, threshold: float
) -> tuple[torch.Tensor, float]:
    """What the kernel computes of (B, H, N, D), by torch's operators, and the share of blocks left out."""
    queries = query.float() * scale
    answer = torch.empty_like(queries)
    left, total = 0, 0
    for start in range(0, query.shape[2], QUERIES):
        rows = queries[:, :, start : start + QUERIES]
        most = torch.full((*rows.shape[:3], 1), float("-inf"))
        summed, mixed = torch.zeros_like(most), torch.zeros_like(rows)
        for at in range(0, key.shape[2], KEYS):
            scores = rows @ key[:, :, at : at + KEYS].float().transpose(-1, -2)
            here = scores.amax(-1, keepdim=True)
            taken = ((here - most).exp() >= threshold).any(2, keepdim=True)  # by tile: all its rows or none
            now = torch.where(taken, torch.maximum(most, here), most)
            weights = torch.where(taken, (scores - now).exp(), 0.0)
            faded = (most - now).exp()
            summed = summed * faded + weights.sum(-1, keepdim=True)
            mixed = mixed * faded + weights @ value[:, :, at : at + KEYS].float()
            most = now
            left += int((~taken).sum())
            total += taken.numel()
        answer[:, :, start : start + QUERIES] = mixed / summed
    return answer.to(query.dtype), left / total


@functools.cache
def kernel() -> Any:
    """The compiled kernel; Triton is imported when a card asks for it."""
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
    import triton
    import triton.language as tl

    # Triton reads the source: a constant is one by its annotation, and it knows no other types
    @triton.jit  # type: ignore[untyped-decorator]
    def skipping_attention(  # type: ignore[no-untyped-def]
        query,
        key,
        value,
        result,
        queries,
        keys,
        scale,
        lowest,
        head: tl.constexpr,
        rows: tl.constexpr,
        block: tl.constexpr,
    ):
        # one program for each tile of rows and each head; exponents are of two, as cards compute them
        at = tl.program_id(0) * rows + tl.arange(0, rows)
        which = tl.program_id(1).to(tl.int64)
        along = tl.arange(0, head)
        inside = at < queries
        place = which * queries * head + at[:, None] * head + along[None, :]
        asked = tl.load(query + place, mask=inside[:, None], other=0.0)
        most = tl.full([rows], float("-inf"), dtype=tl.float32)
        summed = tl.zeros([rows], dtype=tl.float32)
        mixed = tl.zeros([rows, head], dtype=tl.float32)
        first = which * keys * head
        for start in range(0, keys, block):
            number = start + tl.arange(0, block)
            there = number < keys
            apart = first + number[:, None] * head + along[None, :]
            found = tl.load(key + apart, mask=there[:, None], other=0.0)
            scores = tl.dot(asked, tl.trans(found)) * scale
            scores = tl.where(there[None, :], scores, float("-inf"))
            here = tl.max(scores, axis=1)
            # rows beyond the last are no reason to take a block
            near = tl.where(inside, here - most, float("-inf"))
            if tl.max(near, axis=0) >= lowest:
                now = tl.maximum(most, here)
                weights = tl.exp2(scores - now[:, None])
                faded = tl.exp2(most - now)
                held = tl.load(value + apart, mask=there[:, None], other=0.0)
                summed = summed * faded + tl.sum(weights, axis=1)
                mixed = mixed * faded[:, None] + tl.dot(weights.to(held.dtype), held)
                most = now
        mixed = mixed / summed[:, None]
        tl.store(result + place, mixed.to(result.dtype.element_ty), mask=inside[:, None])

    return skipping_attention


def skipping(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float | None, share: float
) -> torch.Tensor:
    """Attention of (B, H, N, D) without the blocks whose weights are all below `share` over the keys' number.

    The kernel computes it on a CUDA device, the reference elsewhere.
    """
    import math

    threshold = min(1.0, share / key.shape[2])
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    if not query.is_cuda:
        return reference(query, key, value, factor, threshold)[0]
    result = torch.empty_like(query)
    batch, heads, queries, head = query.shape
    programs = (-(-queries // QUERIES), batch * heads)
    kernel()[programs](
        query,
        key,
        value,
        result,
        queries,
        key.shape[2],
        factor * math.log2(math.e),
        math.log2(threshold),
        head=head,
        rows=QUERIES,
        block=KEYS,
    )
    return result
