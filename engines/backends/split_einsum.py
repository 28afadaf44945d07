"""Attention one head at a time over (B, C, 1, S), as the Neural Engine has it fast.

Apple, "Deploying Transformers on the Apple Neural Engine" (2022): tensors with
the sequence last, heads apart, products as `einsum` without transposes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,  # noqa: ARG001 - nothing is dropped when a model is used
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """(B, H, N, D), (B, H, M, D), (B, H, M, E) -> (B, H, N, E), like the function it takes the place of."""
    import torch

    heads, shared = query.shape[1], key.shape[1]
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    mask = _additive(attn_mask, query, key, is_causal=is_causal)
    found = []
    for head in range(heads):
        other = head * shared // heads if enable_gqa else head
        q = query[:, head].transpose(1, 2).unsqueeze(2) * factor
        k = key[:, other].unsqueeze(2)
        v = value[:, other].transpose(1, 2).unsqueeze(2)
        scores = torch.einsum("bchq,bkhc->bkhq", q, k)
        if mask is not None:
            part = mask[:, head if mask.shape[1] > 1 else 0]
            scores = scores + part.transpose(1, 2).unsqueeze(2)
        found.append(torch.einsum("bkhq,bchk->bchq", scores.softmax(dim=1), v))
    joined = torch.stack([one.squeeze(2) for one in found], dim=1)
    return joined.transpose(2, 3)


def _additive(
    mask: torch.Tensor | None, query: torch.Tensor, key: torch.Tensor, *, is_causal: bool
) -> torch.Tensor | None:
    """(b, h, N, M) to be added to scores, from a mask of any rank, boolean or not."""
    import torch

    if is_causal:
        allowed = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril()
        mask = allowed if mask is None else mask & allowed
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        # Half precision ends at 65504; a row that sees nothing must not become a division of zeros.
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, -1e4)
    while mask.ndim < 4:
        mask = mask.unsqueeze(0)
    return mask


@contextmanager
def split_attention() -> Iterator[None]:
    """While programs are captured, `scaled_dot_product_attention` is computed head by head."""
    import torch.nn.functional as functions

    given: Any = functions.scaled_dot_product_attention
    functions.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        functions.scaled_dot_product_attention = given
