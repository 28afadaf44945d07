"""How alike two pictures are; travels inside a package (numpy only)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""(H, W, 3)"""

EQUAL: Final = 100.0
"""dB that stand for equal pictures; differences of 8-bit pictures never reach it."""


def sheet(picture: Pixels) -> Pixels:
    """A video's frames, (F, H, W, 3), below each other as one picture; a picture as it is."""
    return picture.reshape(-1, *picture.shape[2:]) if picture.ndim == 4 else picture


def psnr(first: Pixels, second: Pixels) -> float:
    """Peak signal-to-noise ratio in dB over 0..255; `EQUAL` for equal pictures.

    Raises:
        ValueError: different sizes.
    """
    if first.shape != second.shape:
        raise ValueError(f"The pictures have the sizes {first.shape} and {second.shape}.")
    error = float(np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2))
    return EQUAL if error == 0 else float(10 * np.log10(255**2 / error))


def max_abs(first: Pixels, second: Pixels) -> int:
    """The largest difference of a channel, 0..255."""
    return int(np.abs(first.astype(np.int16) - second.astype(np.int16)).max())


def dhash(picture: Pixels) -> str:
    """64-bit difference hash as 16 hex digits.

    Each bit says whether one of 8 x 9 grey patches is brighter than its right
    neighbour, so that small numeric changes leave nearly all bits alone.
    """
    grey = picture.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    patches = _mean(_mean(grey, 8, 0), 9, 1)
    bits = (patches[:, 1:] > patches[:, :-1] + 0.5).ravel()
    return np.packbits(bits).tobytes().hex()


def _mean(grey: NDArray[Any], parts: int, axis: int) -> NDArray[np.float64]:
    length = grey.shape[axis]
    edges = np.linspace(0, length, parts + 1)
    totals = np.concatenate([np.zeros_like(grey.take([0], axis)), np.cumsum(grey, axis)], axis)
    lower = np.minimum(edges.astype(int), length - 1)
    weight = (edges - lower).reshape([-1 if at == axis else 1 for at in range(2)])
    at_edges = totals.take(lower, axis) + weight * grey.take(lower, axis)
    means: NDArray[np.float64] = np.diff(at_edges, axis=axis) / (length / parts)
    return means


def differing_bits(first: str, second: str) -> int:
    """Hamming distance of two hashes."""
    return (int(first, 16) ^ int(second, 16)).bit_count()
