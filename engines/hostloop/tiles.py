"""Decode a large latent in tiles that overlap by a quarter, so that memory is that of one tile.

Neighbours are blended by weights that rise linearly over the overlap.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

OVERLAP: Final = 0.25
"""Of a tile's side, with each neighbour."""
LEAST: Final = 4
"""Least side of a tile, in latent pixels."""


def tile_side(side: int, tiles: int) -> int:
    """The side of each of so many tiles along a side."""
    return math.ceil(side / (1 + (1 - OVERLAP) * (tiles - 1)))


def tile_shape(latent: tuple[int, ...], tiles: int) -> tuple[int, ...]:
    """What the decoder is given at once of a latent (C, h, w)."""
    return (*latent[:-2], tile_side(latent[-2], tiles), tile_side(latent[-1], tiles))


def decode_tiles(latent: Floats, tiles: int, decode: Callable[[Floats], NDArray[Any]]) -> Floats:
    """Images (B, 3, H, W) of latents (B, C, h, w), in `tiles` x `tiles` calls of `decode`."""
    rows, columns = (_starts(side, tiles) for side in latent.shape[-2:])
    height, width = tile_shape(latent.shape, tiles)[-2:]
    found: Any = None
    weights: Any = None
    for top in rows:
        for left in columns:
            part = decode(np.ascontiguousarray(latent[..., top : top + height, left : left + width]))
            scale = part.shape[-1] // width
            if found is None:
                whole = (latent.shape[-2] * scale, latent.shape[-1] * scale)
                found = np.zeros((*part.shape[:-2], *whole), np.float32)
                weights = np.zeros(whole, np.float32)
            across = _ramp(left, width, latent.shape[-1], columns, scale)
            weight = _ramp(top, height, latent.shape[-2], rows, scale)[:, None] * across
            place = np.s_[..., top * scale : (top + height) * scale, left * scale : (left + width) * scale]
            found[place] += part * weight
            weights[place] += weight
    blended: Floats = found / weights
    return blended


def _starts(side: int, tiles: int) -> list[int]:
    """Where tiles begin, evenly from one edge to the other."""
    left = side - tile_side(side, tiles)
    return [round(left * at / max(1, tiles - 1)) for at in range(tiles)]


def _ramp(start: int, length: int, side: int, starts: list[int], scale: int) -> Floats:
    """Weights along one side of a tile, in pixels: 1 inside, falling towards edges that it shares."""
    stride = max((after - before for before, after in pairwise(starts)), default=0)
    overlap = max(1, (length - stride) * scale)
    at = np.arange(length * scale, dtype=np.float32) + 0.5
    rising = np.ones_like(at) if start == 0 else np.minimum(1, at / overlap)
    falling = np.ones_like(at) if start + length >= side else np.minimum(1, at[::-1] / overlap)
    ramp: Floats = rising * falling
    return ramp
