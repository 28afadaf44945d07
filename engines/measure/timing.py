"""Baseline and candidate in alternation: a ratio that drift of the machine cannot bend.

Blocks of ABBA (baseline, candidate, candidate, baseline): whatever grows
linearly within a block, such as a warming processor, weighs on both sides
alike.  One block gives one ratio; the blocks are what is resampled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engines.measure import bootstrap
from engines.measure.bootstrap import Interval

Timed = Callable[[int], float]
"""Does the work for fresh prompt number `i` and returns its seconds, on the caller's clock."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds per call.  Call `2 k` and `2 k + 1` of each side belong to block `k`."""

    baseline: tuple[float, ...]
    candidate: tuple[float, ...]

    @property
    def blocks(self) -> int:
        return len(self.candidate) // 2

    @property
    def ratios(self) -> tuple[float, ...]:
        """Baseline over candidate, by block."""
        return tuple(
            sum(self.baseline[i : i + 2]) / sum(self.candidate[i : i + 2])
            for i in range(0, 2 * self.blocks, 2)
        )

    @property
    def speedup(self) -> Interval:
        """Geometric mean of the blocks' ratios with a paired bootstrap interval."""
        return bootstrap.geometric_mean(self.ratios)

    @property
    def latency(self) -> Interval:
        """Median seconds of the candidate's calls."""
        return bootstrap.median(self.candidate)

    @property
    def p90(self) -> float:
        """Seconds that nine in ten of the candidate's calls stay under."""
        return float(np.quantile(self.candidate, 0.9))


def alternate(
    baseline: Timed,
    candidate: Timed,
    *,
    least: int = 4,
    most: int = 10,
    width: float = 0.08,
    seconds: float = 6.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Alternate until the interval is narrow or the time is up.

    Stops after at least `least` and at most `most` blocks, when the interval
    of the ratio is narrower than `width` times the ratio, or once `seconds`
    have passed.
    """
    ours, theirs = list[float](), list[float]()
    started = clock()
    for block in range(most):
        first, second = 2 * block, 2 * block + 1
        ours.append(baseline(first))
        theirs.append(candidate(first))
        theirs.append(candidate(second))
        ours.append(baseline(second))
        if block + 1 >= least:
            found = Timing(tuple(ours), tuple(theirs)).speedup
            if found.high - found.low < width * found.value or clock() - started > seconds:
                break
    return Timing(tuple(ours), tuple(theirs))
