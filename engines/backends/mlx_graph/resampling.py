"""Pictures enlarged and shrunk."""

from __future__ import annotations

from typing import Any

from engines.backends.mlx_graph.array import Array, Picture, mx, picture
from engines.backends.mlx_graph.operators import operator


def _wanted(value: Picture, size: Any, factors: Any) -> tuple[int, int]:
    if size:
        return int(size[0]), int(size[1])
    return int(value.shape[2] * factors[0]), int(value.shape[3] * factors[1])


@operator("aten.upsample_nearest2d.vec", layout="own")
def nearest(value: Any, size: Any = None, factors: Any = None) -> Picture:
    given = picture(value)
    height, width = _wanted(given, size, factors)
    batch, channels, rows, columns = given.shape
    if height % rows == 0 and width % columns == 0:
        down, right = height // rows, width // columns
        spread = mx.broadcast_to(
            given.array[:, :, None, :, None, :], (batch, rows, down, columns, right, channels)
        )
        return Picture(spread.reshape(batch, height, width, channels))
    found = mx.take(given.array, mx.arange(height) * rows // height, axis=1)
    return Picture(mx.take(found, mx.arange(width) * columns // width, axis=2))


@operator("aten.upsample_nearest2d.default", layout="own")
def nearest_to(value: Any, size: Any, *_: Any) -> Picture:
    return nearest(value, size)


@operator("aten.upsample_bilinear2d.vec", layout="own")
def bilinear(value: Any, size: Any = None, align_corners: bool = False, factors: Any = None) -> Picture:
    given = picture(value)
    height, width = _wanted(given, size, factors)
    scales = factors or (None, None)
    found = _along(given.array, 1, height, align_corners=align_corners, factor=scales[0])
    return Picture(_along(found, 2, width, align_corners=align_corners, factor=scales[1]))


def _along(array: Array, axis: int, wanted: int, *, align_corners: bool, factor: float | None) -> Array:
    """Linear interpolation along one axis, at torch's sample points."""
    size = array.shape[axis]
    steps = mx.arange(wanted).astype(mx.float32)
    if align_corners:
        places = steps * ((size - 1) / max(wanted - 1, 1))
    else:
        ratio = 1 / factor if factor else size / wanted
        places = mx.clip((steps + 0.5) * ratio - 0.5, 0, size - 1)
    low = mx.floor(places).astype(mx.int32)
    high = mx.minimum(low + 1, size - 1)
    shape = [1, 1, 1, 1]
    shape[axis] = wanted
    share = (places - low).reshape(shape).astype(array.dtype)
    return mx.take(array, low, axis=axis) * (1 - share) + mx.take(array, high, axis=axis) * share


@operator("aten.pixel_shuffle.default", layout="own")
def pixel_shuffle(value: Any, factor: int) -> Picture:
    """(B, C r r, H, W) -> (B, C, H r, W r)."""
    array = picture(value).array
    batch, height, width, channels = array.shape
    kept = channels // (factor * factor)
    spread = array.reshape(batch, height, width, kept, factor, factor).transpose(0, 1, 4, 2, 5, 3)
    return Picture(spread.reshape(batch, height * factor, width * factor, kept))


@operator("aten.pixel_unshuffle.default", layout="own")
def pixel_unshuffle(value: Any, factor: int) -> Picture:
    """(B, C, H r, W r) -> (B, C r r, H, W)."""
    array = picture(value).array
    batch, height, width, channels = array.shape
    rows, columns = height // factor, width // factor
    spread = array.reshape(batch, rows, factor, columns, factor, channels).transpose(0, 1, 3, 5, 2, 4)
    return Picture(spread.reshape(batch, rows, columns, channels * factor * factor))
