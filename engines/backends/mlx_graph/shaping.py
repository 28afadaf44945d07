"""Other shapes, orders and pieces of the same values."""

from __future__ import annotations

from typing import Any

from engines.backends.mlx_graph.array import AXIS, Array, Picture, is_array, mx, picture, plain, sizes
from engines.backends.mlx_graph.operators import operator


@operator("aten.view.default", "aten._unsafe_view.default", "aten.reshape.default")
def reshape(a: Array, size: list[int]) -> Array:
    return a.reshape(tuple(size))


@operator("aten.permute.default")
def permute(a: Array, dims: list[int]) -> Array:
    return a.transpose(tuple(dim % a.ndim for dim in dims))


@operator("aten.transpose.int")
def transpose(a: Array, first: int, second: int) -> Array:
    return mx.swapaxes(a, first, second)


@operator("aten.t.default")
def transpose_matrix(a: Array) -> Array:
    return a.T


@operator("aten.unsqueeze.default")
def unsqueeze(a: Array, dim: int) -> Array:
    return mx.expand_dims(a, dim)


@operator("aten.squeeze.dim", "aten.squeeze.dims", "aten.squeeze.default")
def squeeze(a: Array, dims: Any = None) -> Array:
    """Axes longer than one stay, as in torch."""
    given = range(a.ndim) if dims is None else dims if isinstance(dims, list) else [dims]
    chosen = tuple(dim % a.ndim for dim in given if a.shape[dim] == 1)
    return a.squeeze(chosen) if chosen else a


@operator("aten.expand.default")
def expand(a: Array, size: list[int], **_: Any) -> Array:
    missing = len(size) - a.ndim
    kept = [1] * missing + list(a.shape)
    return mx.broadcast_to(a, tuple(old if new == -1 else new for old, new in zip(kept, size, strict=True)))


@operator("aten.repeat.default")
def repeat(a: Array, times: list[int]) -> Array:
    return mx.tile(a, tuple(times))


@operator("aten.repeat_interleave.self_int")
def repeat_interleave(a: Array, times: int, dim: int | None = None) -> Array:
    return mx.repeat(a, times, axis=dim) if dim is not None else mx.repeat(a.flatten(), times)


@operator("aten.cat.default", layout="own")
def concatenate(values: list[Any], dim: int = 0) -> Any:
    # torch skips arrays of shape (0,), which models put there as a start.
    kept = [one for one in values if sizes(one) != (0,)]
    if any(isinstance(one, Picture) for one in kept):
        return Picture(mx.concatenate([picture(one).array for one in kept], axis=AXIS[dim % 4]))
    return mx.concatenate(kept, axis=dim)


@operator("aten.stack.default")
def stack(values: list[Array], dim: int = 0) -> Array:
    return mx.stack(values, axis=dim)


def _cut(value: Any, dim: int, piece: slice) -> Any:
    if isinstance(value, Picture):
        return Picture(value.array[(slice(None),) * AXIS[dim % 4] + (piece,)])
    return value[(slice(None),) * (dim % value.ndim) + (piece,)]


@operator("aten.slice.Tensor", layout="own")
def cut(value: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    size = value.shape[dim]
    first = 0 if start is None else max(start + size, 0) if start < 0 else min(start, size)
    last = size if end is None else max(end + size, 0) if end < 0 else min(end, size)
    return _cut(value, dim, slice(first, max(first, last), step))


@operator("aten.narrow.default", layout="own")
def narrow(value: Any, dim: int, start: int, length: int) -> Any:
    return _cut(value, dim, slice(start, start + length))


@operator("aten.split_with_sizes.default", layout="own")
def split(value: Any, lengths: list[int], dim: int = 0) -> tuple[Any, ...]:
    found, at = [], 0
    for length in lengths:
        found.append(_cut(value, dim, slice(at, at + length)))
        at += length
    return tuple(found)


@operator("aten.split.Tensor", layout="own")
def split_evenly(value: Any, length: int, dim: int = 0) -> tuple[Any, ...]:
    size = value.shape[dim]
    return split(value, [min(length, size - at) for at in range(0, size, length)], dim)


@operator("aten.chunk.default", layout="own")
def chunk(value: Any, count: int, dim: int = 0) -> tuple[Any, ...]:
    return split_evenly(value, -(-value.shape[dim] // count), dim)


@operator("aten.unbind.int")
def unbind(a: Array, dim: int = 0) -> tuple[Array, ...]:
    return tuple(mx.take(a, at, axis=dim) for at in range(a.shape[dim]))


@operator("aten.select.int")
def select(a: Array, dim: int, position: int) -> Array:
    return a[(slice(None),) * (dim % a.ndim) + (position,)]


@operator("aten.flip.default")
def flip(a: Array, dims: list[int]) -> Array:
    chosen = {dim % a.ndim for dim in dims}
    return a[tuple(slice(None, None, -1) if axis in chosen else slice(None) for axis in range(a.ndim))]


@operator("aten.roll.default")
def roll(a: Array, shifts: list[int], dims: Any = ()) -> Array:
    return mx.roll(a, tuple(shifts), axis=tuple(dims)) if dims else mx.roll(a, shifts[0])


def _pads(pads: list[int], rank: int) -> list[tuple[int, int]]:
    """torch names the last axis first."""
    found = [(0, 0)] * rank
    for at in range(len(pads) // 2):
        found[rank - 1 - at] = (pads[2 * at], pads[2 * at + 1])
    return found


def _padded(value: Any, pads: list[int], **how: Any) -> Any:
    """Negative amounts cut, as in torch."""
    if any(one < 0 for one in pads):
        value = plain(value)
        for axis, (low, high) in enumerate(_pads(pads, value.ndim)):
            value = _cut(value, axis, slice(max(-low, 0), value.shape[axis] - max(-high, 0)))
        pads = [max(one, 0) for one in pads]
    wanted = _pads(pads, value.ndim)
    if isinstance(value, Picture):
        return Picture(mx.pad(value.array, [wanted[0], wanted[2], wanted[3], wanted[1]], **how))
    return mx.pad(value, wanted, **how)


@operator("aten.constant_pad_nd.default", layout="own")
def pad(value: Any, pads: list[int], fill: float = 0) -> Any:
    return _padded(value, pads, constant_values=fill)


@operator(
    "aten.replication_pad1d.default",
    "aten.replication_pad2d.default",
    "aten.replication_pad3d.default",
    layout="own",
)
def pad_edge(value: Any, pads: list[int]) -> Any:
    return _padded(value, pads, mode="edge")


@operator("aten.reflection_pad2d.default", "aten.reflection_pad1d.default")
def pad_reflection(a: Array, pads: list[int]) -> Array:
    for axis, (low, high) in enumerate(_pads(pads, a.ndim)):
        if low or high:
            size = a.shape[axis]
            order = [*range(low, 0, -1), *range(size), *range(size - 2, size - 2 - high, -1)]
            a = mx.take(a, mx.array(order), axis=axis)
    return a


@operator("aten.meshgrid.indexing", "aten.meshgrid.default")
def meshgrid(values: list[Array], indexing: str = "ij") -> tuple[Array, ...]:
    return tuple(mx.meshgrid(*values, indexing=indexing))


@operator("aten.numel.default")
def count(a: Array) -> int:
    return int(a.size)


@operator("aten.item.default", "aten._local_scalar_dense.default")
def item(a: Any) -> Any:
    return a.item() if is_array(a) else a
