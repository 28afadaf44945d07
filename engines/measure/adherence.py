"""Adherence of a set of pictures, and what a candidate loses of it.

Adherence is the share of a caption's attributes that the attribute reader
finds in a picture (`engines.scenes.reader`).  The loss is paired: for the same
caption and seed, the reference's adherence minus the candidate's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engines.measure import bootstrap
from engines.measure.bootstrap import Interval, Side

if TYPE_CHECKING:
    from engines.scenes.reader import Reader

Pixels = NDArray[np.uint8]


def interval(shares: NDArray[np.float64]) -> Interval:
    """Mean adherence with its 95 % interval; captions that name nothing (NaN) are left out."""
    return bootstrap.mean(shares)


def paired_loss(
    reference: NDArray[np.float64], candidate: NDArray[np.float64], side: Side = "both"
) -> Interval:
    """Mean of reference minus candidate, as a share (0.02 is two points), with its 95 % interval."""
    return bootstrap.mean(reference - candidate, side)


def shuffled(reader: Reader, images: Pixels, captions: Sequence[str], seed: int = 0) -> Interval:
    """Adherence to captions that belong to other pictures: what chance alone reaches."""
    order = np.random.default_rng(seed).permutation(len(captions))
    moved = [captions[i] for i in np.roll(order, 1)[np.argsort(order)]]
    return interval(reader.adherence(images, moved))
