"""Sums, means, extremes, and orders."""

from __future__ import annotations

from typing import Any

from engines.backends.mlx_graph.array import AXIS, Array, Picture, mx
from engines.backends.mlx_graph.operators import operator


def _axes(dims: Any) -> Any:
    if dims is None or dims == []:
        return None
    return tuple(dims) if isinstance(dims, list | tuple) else dims


@operator("aten.mean.dim", layout="own")
def mean(value: Any, dims: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    if isinstance(value, Picture) and keepdim and dims:
        axes = tuple(AXIS[dim % 4] for dim in dims)
        return Picture(_cast(value.array, dtype).mean(axis=axes, keepdims=True))
    array = value.plain() if isinstance(value, Picture) else value
    return _cast(array, dtype).mean(axis=_axes(dims), keepdims=keepdim)


def _cast(array: Array, dtype: Any) -> Array:
    return array if dtype is None else array.astype(dtype)


@operator("aten.mean.default")
def mean_of_all(a: Array, dtype: Any = None) -> Array:
    return _cast(a, dtype).mean()


@operator("aten.sum.dim_IntList", "aten.sum.default")
def total(a: Array, dims: Any = None, keepdim: bool = False, dtype: Any = None) -> Array:
    return _cast(a, dtype).sum(axis=_axes(dims), keepdims=keepdim)


@operator("aten.amax.default")
def largest(a: Array, dims: Any = None, keepdim: bool = False) -> Array:
    return a.max(axis=_axes(dims), keepdims=keepdim)


@operator("aten.amin.default")
def smallest(a: Array, dims: Any = None, keepdim: bool = False) -> Array:
    return a.min(axis=_axes(dims), keepdims=keepdim)


@operator("aten.max.default")
def largest_of_all(a: Array) -> Array:
    return a.max()


@operator("aten.min.default")
def smallest_of_all(a: Array) -> Array:
    return a.min()


@operator("aten.max.dim")
def largest_and_where(a: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
    return a.max(axis=dim, keepdims=keepdim), argmax(a, dim, keepdim)


@operator("aten.min.dim")
def smallest_and_where(a: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
    return a.min(axis=dim, keepdims=keepdim), argmin(a, dim, keepdim)


@operator("aten.argmax.default")
def argmax(a: Array, dim: int | None = None, keepdim: bool = False) -> Array:
    return mx.argmax(a, axis=dim, keepdims=keepdim).astype(mx.int64)


@operator("aten.argmin.default")
def argmin(a: Array, dim: int | None = None, keepdim: bool = False) -> Array:
    return mx.argmin(a, axis=dim, keepdims=keepdim).astype(mx.int64)


@operator("aten.var.correction")
def variance(
    a: Array,
    dims: Any = None,
    correction: float | None = None,
    keepdim: bool = False,
) -> Array:
    return mx.var(a, axis=_axes(dims), keepdims=keepdim, ddof=1 if correction is None else int(correction))


@operator("aten.var_mean.correction")
def variance_and_mean(
    a: Array,
    dims: Any = None,
    correction: float | None = None,
    keepdim: bool = False,
) -> tuple[Array, Array]:
    return variance(a, dims, correction, keepdim), a.mean(axis=_axes(dims), keepdims=keepdim)


@operator("aten.linalg_vector_norm.default")
def norm(
    a: Array,
    order: float = 2,
    dims: Any = None,
    keepdim: bool = False,
    dtype: Any = None,
) -> Array:
    array = mx.abs(_cast(a, dtype))
    if order == float("inf"):
        return array.max(axis=_axes(dims), keepdims=keepdim)
    if order == 2:
        return mx.sqrt(mx.square(array).sum(axis=_axes(dims), keepdims=keepdim))
    return mx.power(array, order).sum(axis=_axes(dims), keepdims=keepdim) ** (1 / order)


@operator("aten.prod.dim_int")
def product(a: Array, dim: int, keepdim: bool = False) -> Array:
    return a.prod(axis=dim, keepdims=keepdim)


@operator("aten.any.default", "aten.any.dim", "aten.any.dims")
def some(a: Array, dims: Any = None, keepdim: bool = False) -> Array:
    return mx.any(a, axis=_axes(dims), keepdims=keepdim)


@operator("aten.all.default", "aten.all.dim")
def every(a: Array, dims: Any = None, keepdim: bool = False) -> Array:
    return mx.all(a, axis=_axes(dims), keepdims=keepdim)


@operator("aten.cumsum.default")
def running_sum(a: Array, dim: int, dtype: Any = None) -> Array:
    return mx.cumsum(_cast(a, dtype), axis=dim)


@operator("aten.sort.default")
def sort(a: Array, dim: int = -1, descending: bool = False) -> tuple[Array, Array]:
    order = mx.argsort(-a if descending else a, axis=dim).astype(mx.int64)
    return mx.take_along_axis(a, order, axis=dim), order


@operator("aten.sort.stable")
def sort_stable(
    a: Array,
    dim: int = -1,
    descending: bool = False,
    **_: Any,
) -> tuple[Array, Array]:
    return sort(a, dim, descending)


@operator("aten.argsort.default")
def argsort(a: Array, dim: int = -1, descending: bool = False) -> Array:
    return sort(a, dim, descending)[1]


@operator("aten.topk.default")
def top(a: Array, count: int, dim: int = -1, is_largest: bool = True, *_: Any) -> tuple[Array, Array]:
    values, order = sort(a, dim, is_largest)
    cut = (slice(None),) * (dim % a.ndim) + (slice(count),)
    return values[cut], order[cut]
