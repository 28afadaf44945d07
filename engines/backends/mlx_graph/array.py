"""What flows through a graph: arrays, pictures kept channels last, and weights in a form of their own.

MLX convolves (B, H, W, C).  A picture stays in that layout from one
convolution to the next; operators that know nothing of it get it as torch has
it, (B, C, H, W), which in MLX is a view.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Final

mx: Final[Any] = importlib.import_module("mlx.core")

Array = Any
"""`mlx.core.array`"""

CHANNELS_LAST: Final = (0, 2, 3, 1)
CHANNELS_FIRST: Final = (0, 3, 1, 2)
AXIS: Final = (0, 3, 1, 2)
"""Where an axis of (B, C, H, W) lies in (B, H, W, C)."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A value of rank four; `array` is (B, H, W, C), `shape` reads (B, C, H, W)."""

    array: Array

    @property
    def shape(self) -> tuple[int, int, int, int]:
        batch, height, width, channels = self.array.shape
        return batch, channels, height, width

    @property
    def ndim(self) -> int:
        return 4

    @property
    def dtype(self) -> Any:
        return self.array.dtype

    def astype(self, dtype: Any) -> Picture:
        return Picture(self.array.astype(dtype))

    def plain(self) -> Array:
        return self.array.transpose(CHANNELS_FIRST)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A convolution's weights: (out, *spatial, in) instead of torch's (out, in, *spatial)."""

    array: Array


@dataclass(frozen=True, slots=True)
class Quantised:
    """A linear layer's weights, (out, in), in groups of `group` values with a scale and a bias each."""

    array: Array
    scales: Array
    biases: Array
    group: int
    bits: int


def is_array(value: object) -> bool:
    return isinstance(value, mx.array)


def plain(value: Any) -> Any:
    """A picture as torch has it, also inside lists; everything else as it is."""
    if isinstance(value, Picture):
        return value.plain()
    if isinstance(value, list | tuple):
        return type(value)(plain(one) for one in value)
    return value


def picture(value: Any) -> Picture:
    """A value of rank four, channels last."""
    return value if isinstance(value, Picture) else Picture(value.transpose(CHANNELS_LAST))


def sizes(value: Any) -> tuple[int, ...]:
    return tuple(value.shape)


DTYPES: Final[dict[str, Any]] = {
    "float32": mx.float32,
    "float64": mx.float32,
    "float16": mx.float16,
    "bfloat16": mx.bfloat16,
    "int64": mx.int64,
    "int32": mx.int32,
    "int16": mx.int16,
    "int8": mx.int8,
    "uint8": mx.uint8,
    "bool": mx.bool_,
}
"""By torch's names; there is no float64 on a GPU of Apple's."""
