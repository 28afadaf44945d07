"""Attention."""

from __future__ import annotations

import math
from typing import Any

from engines.backends.mlx_graph.array import Array, mx
from engines.backends.mlx_graph.operators import operator


@operator("aten.scaled_dot_product_attention.default")
def attend(
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None = None,
    dropout: float = 0.0,  # noqa: ARG001 - nothing is dropped when a model is used
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,  # noqa: ARG001 - MLX shares keys between heads by their number
) -> Array:
    """(B, H, N, D), (B, H', M, D), (B, H', M, E) -> (B, H, N, E)."""
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    missing = 4 - query.ndim
    if missing > 0:
        query, key, value = (one.reshape((1,) * missing + tuple(one.shape)) for one in (query, key, value))
    wanted: Any = "causal" if is_causal else mask
    if mask is not None and mask.dtype != mx.bool_:
        wanted = mask.astype(query.dtype)
    found = mx.fast.scaled_dot_product_attention(query, key, value, scale=factor, mask=wanted)
    for _ in range(missing):
        found = found.squeeze(0)
    return found
