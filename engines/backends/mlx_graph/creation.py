"""Arrays from nothing."""

from __future__ import annotations

from typing import Any

from engines.backends.mlx_graph.array import Array, mx, sizes
from engines.backends.mlx_graph.operators import operator


@operator("aten.full.default")
def full(size: list[int], value: float, dtype: Any = None, **_: Any) -> Array:
    return mx.full(tuple(size), value, dtype=_dtype(dtype, value))


@operator("aten.full_like.default", "aten.new_full.default")
def full_like(a: Array, *given: Any, dtype: Any = None, **_: Any) -> Array:
    size, value = given if len(given) == 2 else (sizes(a), given[0])
    return mx.full(tuple(size), value, dtype=dtype or a.dtype)


@operator("aten.zeros.default", "aten.empty.memory_format", "aten.new_zeros.default")
def zeros(*given: Any, dtype: Any = None, **_: Any) -> Array:
    return mx.zeros(tuple(given[-1]), dtype=dtype or (given[0].dtype if len(given) == 2 else mx.float32))


@operator("aten.ones.default", "aten.new_ones.default")
def ones(*given: Any, dtype: Any = None, **_: Any) -> Array:
    return mx.ones(tuple(given[-1]), dtype=dtype or (given[0].dtype if len(given) == 2 else mx.float32))


@operator("aten.zeros_like.default", "aten.empty_like.default")
def zeros_like(a: Array, dtype: Any = None, **_: Any) -> Array:
    return mx.zeros(sizes(a), dtype=dtype or a.dtype)


@operator("aten.ones_like.default")
def ones_like(a: Array, dtype: Any = None, **_: Any) -> Array:
    return mx.ones(sizes(a), dtype=dtype or a.dtype)


@operator("aten.scalar_tensor.default")
def scalar(value: float, dtype: Any = None, **_: Any) -> Array:
    return mx.array(value, dtype=_dtype(dtype, value))


@operator("aten.arange.default", "aten.arange.start", "aten.arange.start_step")
def arange(*bounds: Any, dtype: Any = None, **_: Any) -> Array:
    start, stop, step = (0, bounds[0], 1) if len(bounds) == 1 else (*bounds, 1)[:3]
    kind = dtype or (mx.float32 if any(isinstance(one, float) for one in bounds) else mx.int64)
    return mx.arange(start, stop, step, dtype=kind)


@operator("prims.iota.default")
def iota(length: int, start: int = 0, step: int = 1, dtype: Any = None, **_: Any) -> Array:
    return mx.arange(start, start + length * step, step, dtype=dtype or mx.int64)


@operator("aten.linspace.default")
def linspace(start: float, stop: float, steps: int, dtype: Any = None, **_: Any) -> Array:
    return mx.linspace(start, stop, steps, dtype=dtype or mx.float32)


@operator("aten.tril.default")
def lower_triangle(a: Array, diagonal: int = 0) -> Array:
    return mx.tril(a, diagonal)


@operator("aten.triu.default")
def upper_triangle(a: Array, diagonal: int = 0) -> Array:
    return mx.triu(a, diagonal)


@operator("aten.eye.default")
def identity(size: int, columns: int | None = None, dtype: Any = None, **_: Any) -> Array:
    return mx.eye(size, columns, dtype=dtype or mx.float32)


def _dtype(dtype: Any, value: Any) -> Any:
    if dtype is not None:
        return dtype
    if isinstance(value, bool):
        return mx.bool_
    return mx.int64 if isinstance(value, int) else mx.float32


@operator("aten.empty_permuted.default")
def empty_permuted(size: list[int], order: list[int], dtype: Any = None, **_: Any) -> Array:
    del order
    return mx.zeros(tuple(size), dtype=dtype or mx.float32)


@operator("aten.copy.default")
def copy(a: Array, source: Array, *_: Any) -> Array:
    """The source in the shape and type of what it is copied over."""
    return mx.broadcast_to(source, sizes(a)).astype(a.dtype)
