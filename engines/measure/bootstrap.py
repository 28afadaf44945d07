"""Intervals by resampling, honest for few samples.

Percentiles of resampled means are too narrow for few samples (they cannot
leave the samples' own range: 87 % coverage for four).  So the bootstrap gives
the standard error only, corrected by n / (n - 1), and Student's t the width
(Hesterberg, "What Teachers Should Know About the Bootstrap", 2015).  Paired
values are to be subtracted or divided before they come here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES: Final = 4000

Side = Literal["both", "one"]
Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From samples (R, N) to values (R,)."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval; one-sided, each bound holds with 95 % by itself."""

    value: float
    low: float
    high: float

    def __truediv__(self, by: float) -> Interval:
        return Interval(self.value / by, self.low / by, self.high / by)


def _mean(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(samples.mean(axis=1), dtype=np.float64)


def _median(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.median(samples, axis=1), dtype=np.float64)


def bootstrap(
    samples: ArrayLike, statistic: Statistic = _mean, side: Side = "both", seed: int = 0
) -> Interval:
    """The statistic of the finite samples with its 95 % interval; all NaN where there is none."""
    values = np.asarray(samples, dtype=np.float64).ravel()
    values = values[np.isfinite(values)]
    count = len(values)
    if not count:
        return Interval(math.nan, math.nan, math.nan)
    centre = float(statistic(values[None])[0])
    if count == 1:
        return Interval(centre, -math.inf, math.inf)
    from scipy import stats

    tail = 0.025 if side == "both" else 0.05
    width = float(stats.t.ppf(1 - tail, count - 1)) * _error(values, statistic, seed)
    return Interval(centre, centre - width, centre + width)


def _error(values: NDArray[np.float64], statistic: Statistic, seed: int) -> float:
    """The statistic's standard error."""
    count = len(values)
    draws = np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))
    return float(statistic(values[draws]).std()) * math.sqrt(count / (count - 1))


def mean(samples: ArrayLike, side: Side = "both", seed: int = 0) -> Interval:
    """The mean with its interval."""
    return bootstrap(samples, _mean, side, seed)


def median(samples: ArrayLike, side: Side = "both", seed: int = 0) -> Interval:
    """The median with its interval.

    Positive samples (times) are resampled as logarithms, so the interval stays positive too.
    """
    values = np.asarray(samples, dtype=np.float64)
    if not len(values) or not bool((values > 0).all()):
        return bootstrap(values, _median, side, seed)
    logs = bootstrap(np.log(values), _median, side, seed)
    return Interval(float(np.median(values)), _exponential(logs.low), _exponential(logs.high))


def ratio(above: ArrayLike, below: ArrayLike, seed: int = 0) -> Interval:
    """The ratio of two independent sets' geometric means; all values positive, two or more of each.

    Each set is resampled by itself; the degrees of freedom are Welch's.
    """
    from scipy import stats

    sets = [np.log(np.asarray(values, dtype=np.float64)) for values in (above, below)]
    parts = [_error(values, _mean, seed + place) ** 2 for place, values in enumerate(sets)]
    spread = sum(part**2 / (len(values) - 1) for part, values in zip(parts, sets, strict=True))
    freedom = sum(parts) ** 2 / spread if spread else math.inf
    width = float(stats.t.ppf(0.975, freedom)) * math.sqrt(sum(parts))
    centre = float(sets[0].mean() - sets[1].mean())
    return Interval(*(_exponential(bound) for bound in (centre, centre - width, centre + width)))


def _exponential(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
