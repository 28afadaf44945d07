"""Convolutions and pooling of pictures, sequences and volumes; channels last inside."""

from __future__ import annotations

from typing import Any

from engines.backends.mlx_graph.array import Array, Kernel, Picture, mx, picture
from engines.backends.mlx_graph.operators import operator


def _spread(values: Any, rank: int) -> list[int]:
    """One value for each axis: torch allows a single one."""
    given = [int(value) for value in values] if isinstance(values, list | tuple) else [int(values)]
    return given * rank if len(given) == 1 else given


def _channels_last(value: Any) -> tuple[Array, bool]:
    """(B, C, *spatial) as (B, *spatial, C); whether it was a picture."""
    if isinstance(value, Picture):
        return value.array, True
    axes = (0, *range(2, value.ndim), 1)
    return value.transpose(axes), False


def _back(array: Array) -> Any:
    if array.ndim == 4:
        return Picture(array)
    return array.transpose(0, array.ndim - 1, *range(1, array.ndim - 1))


@operator("aten.convolution.default", layout="own")
def convolve(
    value: Any,
    weight: Kernel | Array,
    bias: Array | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Any:
    array, _ = _channels_last(value)
    rank = array.ndim - 2
    kernel = weight.array if isinstance(weight, Kernel) else _kernel(weight, transposed=transposed)
    stride, padding, dilation = (_spread(one, rank) for one in (stride, padding, dilation))
    if transposed:
        extra = _spread(output_padding, rank)
        found = _transposed(array, kernel, stride, padding, dilation, extra, groups)
    else:
        found = mx.conv_general(
            array, kernel, stride=stride, padding=padding, kernel_dilation=dilation, groups=groups
        )
    return _back(found if bias is None else found + bias)


def _kernel(weight: Array, *, transposed: bool) -> Array:
    if transposed:
        return weight.transpose(*range(1, weight.ndim), 0) if weight.ndim else weight
    return weight.transpose(0, *range(2, weight.ndim), 1)


def _transposed(
    array: Array,
    kernel: Array,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    extra: list[int],
    groups: int,
) -> Array:
    """A transposed convolution is one over the stretched input with the kernel turned around.

    `kernel` is (out / groups, *spatial, in).
    """
    if groups > 1:
        inputs = mx.split(array, groups, axis=-1)
        kernels = mx.split(kernel, groups, axis=-1)
        parts = [
            _transposed(one, part, stride, padding, dilation, extra, 1)
            for one, part in zip(inputs, kernels, strict=True)
        ]
        return mx.concatenate(parts, axis=-1)
    spans = [d * (size - 1) for d, size in zip(dilation, kernel.shape[1:-1], strict=True)]
    low = [span - pad for span, pad in zip(spans, padding, strict=True)]
    high = [span - pad + more for span, pad, more in zip(spans, padding, extra, strict=True)]
    return mx.conv_general(
        array, kernel, stride=1, padding=(low, high), kernel_dilation=dilation, input_dilation=stride,
        flip=True,
    )  # fmt: skip


def _windows(array: Array, size: list[int], stride: list[int], padding: list[int], fill: float) -> Array:
    """(B, H, W, C) as (B, h, w, kh, kw, C): every window."""
    if any(padding):
        pads = [(0, 0), (padding[0], padding[0]), (padding[1], padding[1]), (0, 0)]
        array = mx.pad(array, pads, constant_values=fill)
    batch, height, width, channels = array.shape
    rows = mx.arange((height - size[0]) // stride[0] + 1)[:, None] * stride[0] + mx.arange(size[0])
    columns = mx.arange((width - size[1]) // stride[1] + 1)[:, None] * stride[1] + mx.arange(size[1])
    found = mx.take(array, rows.flatten(), axis=1)
    found = mx.take(found, columns.flatten(), axis=2)
    shape = (batch, rows.shape[0], size[0], columns.shape[0], size[1], channels)
    return found.reshape(shape).transpose(0, 1, 3, 2, 4, 5)


@operator("aten.avg_pool2d.default", layout="own")
def average_pool(
    value: Any,
    size: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil: bool = False,
    count_padding: bool = True,
    divisor: int | None = None,
) -> Picture:
    if ceil or divisor is not None or (not count_padding and any(_spread(padding, 2))):
        raise ValueError("average pooling with ceil_mode, a divisor or uncounted padding is not supported")
    kernel = _spread(size, 2)
    steps = _spread(stride, 2) if stride else kernel
    return Picture(_windows(picture(value).array, kernel, steps, _spread(padding, 2), 0.0).mean(axis=(3, 4)))


@operator("aten.max_pool2d_with_indices.default", "aten.max_pool2d.default", layout="own")
def maximum_pool(
    value: Any,
    size: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil: bool = False,
) -> tuple[Picture]:
    if ceil or _spread(dilation, 2) != [1, 1]:
        raise ValueError("maximum pooling with ceil_mode or dilation is not supported")
    kernel = _spread(size, 2)
    steps = _spread(stride, 2) if stride else kernel
    array = picture(value).array
    return (Picture(_windows(array, kernel, steps, _spread(padding, 2), float("-inf")).max(axis=(3, 4))),)


@operator("aten._adaptive_avg_pool2d.default", "aten.adaptive_avg_pool2d.default", layout="own")
def adaptive_average_pool(value: Any, size: Any) -> Picture:
    array = picture(value).array
    wanted = [int(one) for one in size]
    if array.shape[1] % wanted[0] or array.shape[2] % wanted[1]:
        raise ValueError(f"pooling {array.shape[1]}x{array.shape[2]} to {wanted} has windows of unequal size")
    kernel = [array.shape[1] // wanted[0], array.shape[2] // wanted[1]]
    return Picture(_windows(array, kernel, kernel, [0, 0], 0.0).mean(axis=(3, 4)))
