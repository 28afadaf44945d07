"""What a cascade's threshold costs and is worth, from measured pairs.

A light model answers first.  A discriminator gives its picture a *score*: the
probability that the light picture is good enough.  At a threshold t the light
picture is kept where score >= t and the prompt is *deferred* to the heavy
model where score < t (DiffServe, arXiv 2411.15381, its artifact's routing
rule).  The deferral curve f(t) is the share with score < t.

Thresholds are percentiles of measured scores: a fixed grid on [0, 1] lies
mostly outside the range in which scores fall.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 1000
_Z: Final = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its bootstrap interval (95 % unless said)."""

    value: float
    low: float
    high: float


def wilson(count: int, total: int) -> Interval:
    """A share with its 95 % interval (Wilson, 1927)."""
    if total == 0:
        return Interval(0.0, 0.0, 1.0)
    share = count / total
    middle = (share + _Z**2 / (2 * total)) / (1 + _Z**2 / total)
    reach = _Z / (1 + _Z**2 / total) * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    return Interval(share, max(0.0, middle - reach), min(1.0, middle + reach))


@dataclass(frozen=True, eq=False)
class Pairs:
    """Light and heavy measured on the same prompts and seeds; all arrays have shape (n,).

    Raises:
        ValueError: nothing measured, lengths that differ, or numbers that are not finite.
    """

    scores: Floats
    """Probability that the light picture is good enough."""
    light_quality: Floats
    """Higher is better, for example the share of a caption's attributes that the picture shows."""
    heavy_quality: Floats
    light_seconds: Floats
    heavy_seconds: Floats
    discriminator_seconds: float = 0.0
    """What one score takes; every prompt pays it."""

    def __post_init__(self) -> None:
        for name in ("scores", "light_quality", "heavy_quality", "light_seconds", "heavy_seconds"):
            array = np.asarray(getattr(self, name), dtype=np.float64)
            object.__setattr__(self, name, array)
            if array.ndim != 1 or array.size == 0:
                raise ValueError(f"`{name}` has shape {array.shape}; give one number for each prompt.")
            if array.shape != np.shape(self.scores):
                raise ValueError(f"`{name}` has {array.size} numbers for {np.size(self.scores)} scores.")
            if not np.isfinite(array).all():
                raise ValueError(f"`{name}` holds a number that is not finite.")

    def __len__(self) -> int:
        return int(self.scores.size)


@dataclass(frozen=True, slots=True)
class Operation:
    """A cascade at one threshold."""

    threshold: float
    light: int
    heavy: int
    """Prompts that are deferred."""
    share: float
    """Deferred share, f(t)."""
    seconds: Interval
    """Mean per prompt: light and discriminator always, heavy where deferred."""
    quality: Interval
    control: float
    """Mean quality if the same share were deferred at random: what the scores must beat."""

    @property
    def deferred(self) -> Interval:
        """f(t) with its 95 % interval over prompts."""
        return wilson(self.heavy, self.light + self.heavy)


def deferred_share(scores: ArrayLike, thresholds: ArrayLike) -> Floats:
    """f(t) for each threshold: the share of the scores below it, shape of `thresholds`."""
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    return np.searchsorted(ordered, np.asarray(thresholds, dtype=np.float64), side="left") / ordered.size


def thresholds(scores: ArrayLike, count: int = 101) -> Floats:
    """Up to `count` thresholds, ascending, that spread f evenly from 0 to 1.

    The first defers nothing, the last everything; equal scores give equal
    thresholds, of which one is kept.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    ranks = np.unique(np.round(np.linspace(0, ordered.size, count)).astype(int))
    above = np.nextafter(ordered[-1], np.inf)
    return np.unique(np.append(ordered, above)[ranks])


def operate(pairs: Pairs, threshold: float, *, resamples: int = RESAMPLES, seed: int = 0) -> Operation:
    """The cascade at one threshold, with bootstrap intervals over prompts."""
    return curve(pairs, np.array([threshold]), resamples=resamples, seed=seed)[0]


def curve(
    pairs: Pairs, at: ArrayLike | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Operation, ...]:
    """The cascade at each threshold; all points share the same resampled prompts.

    `at` defaults to `thresholds(pairs.scores)`.
    """
    points = thresholds(pairs.scores) if at is None else np.atleast_1d(np.asarray(at, dtype=np.float64))
    deferred = pairs.scores[None, :] < points[:, None]
    seconds = pairs.light_seconds + pairs.discriminator_seconds + deferred * pairs.heavy_seconds
    quality = np.where(deferred, pairs.heavy_quality, pairs.light_quality)
    count = len(pairs)
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples) / count
    tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    seconds_low, seconds_high = np.quantile(seconds @ draws.T, tails, axis=1)
    quality_low, quality_high = np.quantile(quality @ draws.T, tails, axis=1)
    light_mean, heavy_mean = float(pairs.light_quality.mean()), float(pairs.heavy_quality.mean())
    operations = []
    for index, point in enumerate(points):
        heavy = int(deferred[index].sum())
        share = heavy / count
        operations.append(
            Operation(
                threshold=float(point),
                light=count - heavy,
                heavy=heavy,
                share=share,
                seconds=Interval(
                    float(seconds[index].mean()), float(seconds_low[index]), float(seconds_high[index])
                ),
                quality=Interval(
                    float(quality[index].mean()), float(quality_low[index]), float(quality_high[index])
                ),
                control=(1 - share) * light_mean + share * heavy_mean,
            )
        )
    return tuple(operations)


def nearest(scores: ArrayLike, threshold: float, count: int = 6) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Indices of the `count` scores just below and just above the threshold, nearest first.

    Below is deferred, above (or equal) keeps the light picture.
    """
    values = np.asarray(scores, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    split = int(np.searchsorted(values[order], threshold, side="left"))
    below, above = order[:split][::-1][:count], order[split:][:count]
    return tuple(int(index) for index in below), tuple(int(index) for index in above)


def mistakes(
    scores: ArrayLike, gains: ArrayLike, defer: ArrayLike, threshold: float, count: int = 6
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Indices of the worst mistakes either way, worst first: wrongly kept, and deferred for nothing.

    `gains` (n,) is heavy's quality minus light's, `defer` (n,) what should have been done.
    """
    values, gain, should = np.asarray(scores), np.asarray(gains), np.asarray(defer, dtype=bool)
    kept = values >= threshold
    worst = np.argsort(-gain, kind="stable")
    wrongly = worst[(kept & should)[worst]][:count]
    in_vain = worst[::-1][(~kept & ~should)[worst[::-1]]][:count]
    return tuple(int(at) for at in wrongly), tuple(int(at) for at in in_vain)
