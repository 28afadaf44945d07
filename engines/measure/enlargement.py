"""A metric of pictures that were made from smaller ones: does the large one still show the small one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engines.hostloop import pictures
from engines.measure.images import psnr

if TYPE_CHECKING:
    from engines.models.model import Model
    from engines.workload import Workload

Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]


def small_side(model: Model, workload: Workload) -> int:
    """Side in pixels of the picture that a model makes larger; 0 where it makes none larger."""
    size = workload.size or model.size
    if model.enlarges:
        return size // model.scale
    return size // 4 if model.task == "upscaling" else 0


def given(prompts: Sequence[str], side: tuple[int, int]) -> Pixels:
    """The small pictures (N, h, w, 3) that prompts name, as the network is given them (`side`: h, w)."""
    found = [np.rint((pictures.read(prompt, side) + 1.0) * 127.5).astype(np.uint8) for prompt in prompts]
    return np.ascontiguousarray(np.stack(found).transpose(0, 2, 3, 1))


def consistency(large: Pixels, small: Pixels) -> Values:
    """PSNR in dB (N,) between pictures (N, h s, w s, 3), made small again, and what they came from.

    Made small by averaging each square of s by s: what a camera with fewer
    pixels would have seen.  Raises `ValueError` where s is no whole number.
    """
    height, width = small.shape[1:3]
    scale = large.shape[1] // height
    if large.shape[1:3] != (height * scale, width * scale):
        raise ValueError(f"{large.shape[1:3]} is no multiple of {small.shape[1:3]}")
    squares = large.reshape(len(large), height, scale, width, scale, 3).mean(axis=(2, 4))
    return psnr(np.rint(squares).astype(np.uint8), small)
