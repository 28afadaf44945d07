"""Picking by index, and putting back."""

from __future__ import annotations

from typing import Any

from engines.backends.mlx_graph.array import Array, mx, sizes
from engines.backends.mlx_graph.operators import operator


@operator("aten.embedding.default")
def embedding(weight: Array, indices: Array, *_: Any) -> Array:
    return mx.take(weight, indices, axis=0)


@operator("aten.index_select.default")
def index_select(a: Array, dim: int, indices: Array) -> Array:
    return mx.take(a, indices, axis=dim)


@operator("aten.gather.default")
def gather(a: Array, dim: int, indices: Array, **_: Any) -> Array:
    return mx.take_along_axis(_trimmed(a, dim, indices), indices, axis=dim)


def _trimmed(a: Array, dim: int, indices: Array) -> Array:
    """torch lets the indices be smaller than the array along the other axes."""
    dim %= a.ndim
    cut = tuple(
        slice(None) if axis == dim or a.shape[axis] == indices.shape[axis] else slice(indices.shape[axis])
        for axis in range(a.ndim)
    )
    return a if all(one == slice(None) for one in cut) else a[cut]


@operator("aten.scatter.src", "aten.scatter.value")
def scatter(a: Array, dim: int, indices: Array, source: Any, **_: Any) -> Array:
    values = source if hasattr(source, "shape") else mx.full(sizes(indices), source, dtype=a.dtype)
    return mx.put_along_axis(a, indices, _trimmed(values, -1 - values.ndim, indices), axis=dim)


@operator("aten.scatter_add.default")
def scatter_add(a: Array, dim: int, indices: Array, source: Array) -> Array:
    where = _positions(indices, dim % a.ndim)
    return a.at[where].add(source)


def _positions(indices: Array, dim: int) -> tuple[Array, ...]:
    """Full indices of every element that `indices` addresses along `dim`."""
    found = []
    for axis, size in enumerate(indices.shape):
        if axis == dim:
            found.append(indices)
        else:
            shape = [1] * indices.ndim
            shape[axis] = size
            found.append(mx.broadcast_to(mx.arange(size).reshape(shape), indices.shape))
    return tuple(found)


@operator("aten.index.Tensor")
def index(a: Array, indices: list[Any]) -> Array:
    """torch's advanced indexing; `None` keeps an axis."""
    return a[_key(a, indices)]


def _key(a: Array, indices: list[Any]) -> tuple[Any, ...]:
    for one in indices:
        if one is not None and one.dtype == mx.bool_:
            raise ValueError("indexing by a mask gives a size that depends on the data")
    key = tuple(
        slice(None) if one is None else _positive(one, a.shape[axis]) for axis, one in enumerate(indices)
    )
    return key if len(key) > 1 else (key[0],)


def _positive(indices: Array, size: int) -> Array:
    return mx.where(indices < 0, indices + size, indices)


@operator("aten.index_put.default", "aten.index_put_.default", "aten._unsafe_index_put.default")
def index_put(a: Array, indices: list[Any], values: Array, accumulate: bool = False) -> Array:
    key = _key(a, indices)
    if accumulate:
        return a.at[key].add(values)
    copy = mx.array(a)
    copy[key] = values
    return copy


operator("aten._unsafe_index.Tensor")(index)


@operator("aten.select_scatter.default")
def select_scatter(a: Array, source: Array, dim: int, position: int) -> Array:
    copy = mx.array(a)
    copy[(slice(None),) * (dim % a.ndim) + (position,)] = source
    return copy


@operator("aten.slice_scatter.default")
def slice_scatter(
    a: Array, source: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Array:
    copy = mx.array(a)
    last = None if end is None or end >= a.shape[dim] else end
    copy[(slice(None),) * (dim % a.ndim) + (slice(start, last, step),)] = source
    return copy
