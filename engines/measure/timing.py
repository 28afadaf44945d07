"""Baseline and candidate in alternation: a ratio that drift of the machine cannot bend.

The sides take turns, baseline first and last (A B A B A): both are centred on
the same moment, so whatever grows linearly, such as a warming processor,
weighs on both alike.  It widens the interval and does not move the ratio.

A turn of the baseline is one call.  The candidate's calls go on while they
have taken less than a quarter of the baseline's, and the turn counts by their
median: the first call after a turn of the other side finds cold caches, which
is a third of a 15 ms call and nothing of a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from engines.measure import bootstrap
from engines.measure.bootstrap import Interval

Timed = Callable[[int, int], float]
"""Does the work of call `j` in turn `i`, never on a prompt that its side has seen, and returns its seconds
on the caller's clock."""

_SHARE: Final = 0.25
_CALLS: Final = 9


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of the baseline's calls (N + 1), and of the candidate's calls in its N turns."""

    baseline: tuple[float, ...]
    turns: tuple[tuple[float, ...], ...]

    @property
    def candidate(self) -> tuple[float, ...]:
        """Seconds of all the candidate's calls."""
        return tuple(seconds for turn in self.turns for seconds in turn)

    @property
    def speedup(self) -> Interval:
        """Geometric mean of the baseline's turns over the candidate's, with a bootstrap interval."""
        return bootstrap.ratio(self.baseline, [float(np.median(turn)) for turn in self.turns])

    @property
    def latency(self) -> Interval:
        """Median seconds of the candidate's turns."""
        return bootstrap.median([float(np.median(turn)) for turn in self.turns])

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

    Stops after at least `least` and at most `most` turns of the candidate, when
    the interval of the ratio is narrower than `width` times the ratio, or once
    `seconds` have passed.
    """
    started = clock()
    ours, theirs = [baseline(0, 0)], list[tuple[float, ...]]()
    for turn in range(most):
        theirs.append(_turn(candidate, turn, _SHARE * ours[-1]))
        ours.append(baseline(turn + 1, 0))
        if turn + 1 >= least:
            found = Timing(tuple(ours), tuple(theirs)).speedup
            if found.high - found.low < width * found.value or clock() - started > seconds:
                break
    return Timing(tuple(ours), tuple(theirs))


def _turn(candidate: Timed, turn: int, enough: float) -> tuple[float, ...]:
    calls = list[float]()
    while not calls or (sum(calls) < enough and len(calls) < _CALLS):
        calls.append(candidate(turn, len(calls)))
    return tuple(calls)
