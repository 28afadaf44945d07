"""Normalisations and softmax; statistics in float32 as torch keeps them."""

from __future__ import annotations

from typing import Any

from engines.backends.mlx_graph.array import Array, Picture, mx, picture
from engines.backends.mlx_graph.operators import operator


@operator("aten.native_group_norm.default", layout="own")
def group_norm(
    value: Any,
    weight: Array | None,
    bias: Array | None,
    batch: int,
    channels: int,
    size: int,
    groups: int,
    epsilon: float,
) -> tuple[Any]:
    """Over (B, C, H, W) kept channels last, or over (B, C, *) as it is."""
    del size
    if getattr(value, "ndim", 0) != 4:
        grouped = value.reshape(batch, groups, -1)
        found = mx.fast.layer_norm(grouped, None, None, epsilon).reshape(value.shape)
        shape = (1, channels, *(1,) * (value.ndim - 2))
        return (_affine(found, weight, bias, shape),)
    array = picture(value).array
    rows, columns = array.shape[1:3]
    # fast.layer_norm works along the last axis: each group's pixels and channels go there and back.
    grouped = array.reshape(batch, rows * columns, groups, -1).transpose(0, 2, 1, 3)
    kept = grouped.shape
    found = mx.fast.layer_norm(grouped.reshape(batch, groups, -1), None, None, epsilon)
    found = found.reshape(kept).transpose(0, 2, 1, 3).reshape(array.shape)
    return (Picture(_affine(found, weight, bias, (channels,))),)


def _affine(array: Array, weight: Array | None, bias: Array | None, shape: tuple[int, ...]) -> Array:
    if weight is not None:
        array = array * weight.reshape(shape)
    return array if bias is None else array + bias.reshape(shape)


@operator("aten.native_layer_norm.default")
def layer_norm(
    a: Array, shape: list[int], weight: Array | None, bias: Array | None, epsilon: float
) -> tuple[Array]:
    if len(shape) == 1:
        return (mx.fast.layer_norm(a, weight, bias, epsilon),)
    flat = a.reshape(*a.shape[: -len(shape)], -1)
    found = mx.fast.layer_norm(flat, None, None, epsilon).reshape(a.shape)
    return (_affine(found, weight, bias, tuple(shape)),)


@operator("aten._fused_rms_norm.default")
def fused_rms_norm(a: Array, shape: list[int], weight: Array | None, epsilon: float | None) -> tuple[Array]:
    return (rms_norm(a, shape, weight, epsilon),)


@operator("aten.rms_norm.default")
def rms_norm(a: Array, shape: list[int], weight: Array | None = None, epsilon: float | None = None) -> Array:
    if len(shape) != 1:
        raise ValueError("the root mean square over several axes is not supported")
    return mx.fast.rms_norm(a, weight, mx.finfo(a.dtype).eps if epsilon is None else epsilon)


@operator("aten._native_batch_norm_legit_no_training.default")
def batch_norm(
    a: Array,
    weight: Array | None,
    bias: Array | None,
    mean: Array,
    variance: Array,
    momentum: float,
    epsilon: float,
) -> tuple[Array]:
    del momentum
    shape = (1, -1, *(1,) * (a.ndim - 2))
    found = (a - mean.reshape(shape)) * mx.rsqrt(variance + epsilon).reshape(shape)
    return (_affine(found, weight, bias, shape),)


@operator("aten._softmax.default", "aten.softmax.int")
def softmax(a: Array, dim: int, _: Any = None, **__: Any) -> Array:
    return mx.softmax(a, axis=dim, precise=True)


@operator("aten._safe_softmax.default")
def safe_softmax(a: Array, dim: int, dtype: Any = None) -> Array:
    """Rows in which everything is masked give zeros."""
    array = a if dtype is None else a.astype(dtype)
    empty = (array == float("-inf")).all(axis=dim, keepdims=True)
    return mx.where(empty, 0, mx.softmax(array, axis=dim, precise=True))


@operator("aten._log_softmax.default", "aten.log_softmax.int")
def log_softmax(a: Array, dim: int, _: Any = None, **__: Any) -> Array:
    return a - mx.logsumexp(a, axis=dim, keepdims=True)
