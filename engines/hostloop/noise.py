"""Noise by seed, the same bits on every engine and in every batch.

Philox is counter-based (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC11): its 128-bit key is (seed, stream), so the initial latent
(stream 0), the noise of each step (stream 1 + step) and the noise on a given
picture (the last stream) are independent and need no state between calls.
A second denoiser's latent and steps have the streams from 2^32 on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .errors import LoopError

_PICTURE = 2**64 - 1
_PASS = 2**32


def _stream(seed: int, stream: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if not 0 <= seed < 2**64:
        raise LoopError(f"The seed {seed} is out of range; give a whole number from 0 to 2^64 - 1.")
    philox = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64))
    return np.random.Generator(philox).standard_normal(shape, dtype=np.float32)


def latent_noise(seed: int, shape: tuple[int, ...], stage: int = 0) -> NDArray[np.float32]:
    """Unit normal noise of `shape`, (C, h, w) or (C, F, h, w), for the start of one picture.

    `stage`: 0 for the denoiser, 1 for a second one.

    Raises:
        LoopError: the seed is negative or needs more than 64 bits.
    """
    return _stream(seed, stage * _PASS, shape)


def step_noise(seed: int, step: int, shape: tuple[int, ...], stage: int = 0) -> NDArray[np.float32]:
    """Unit normal noise that a stochastic scheduler adds after `step` (0 is the first).

    `stage`: 0 for the denoiser, 1 for a second one.

    Raises:
        LoopError: the seed is negative or needs more than 64 bits.
    """
    return _stream(seed, stage * _PASS + 1 + step, shape)


def picture_noise(seed: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Unit normal noise of `shape`, (3, H, W), for a picture that a model starts from.

    Raises:
        LoopError: the seed is negative or needs more than 64 bits.
    """
    return _stream(seed, _PICTURE, shape)
