"""What a way to score is worth: the quality that it buys at a given deferred share, against chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from studio.plan.deferral import CONFIDENCE, RESAMPLES, Interval

SHARES: Final = (0.2, 0.4, 0.6)


@dataclass(frozen=True, slots=True)
class Worth:
    """A scorer at one deferred share."""

    share: float
    quality: Interval
    gain: Interval
    """Over deferring the same share at random, paired by prompt."""


def deferred(scores: ArrayLike, share: float, seed: int = 0) -> NDArray[np.bool_]:
    """The prompts (n,) of the lowest scores, `share` of all, rounded; ties are broken by chance."""
    values = np.asarray(scores, dtype=np.float64)
    order = np.lexsort((np.random.default_rng(seed).random(values.size), values))
    found = np.zeros(values.size, dtype=bool)
    found[order[: round(share * values.size)]] = True
    return found


def interval(values: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Mean of the values (n,) with its bootstrap interval."""
    given = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(seed).multinomial(
        given.size, np.full(given.size, 1 / given.size), size=resamples
    )
    low, high = np.quantile(draws @ given / given.size, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(given.mean()), float(low), float(high))


def worth(scores: ArrayLike, light: ArrayLike, heavy: ArrayLike, *, seed: int = 0) -> tuple[Worth, ...]:
    """At each of `SHARES`; `light` and `heavy` are the qualities (n,) of the two pictures of each prompt.

    Raises:
        ValueError: a score or quality that is not finite.
    """
    own, less, more = (np.asarray(each, dtype=np.float64) for each in (scores, light, heavy))
    if not (np.isfinite(own).all() and np.isfinite(less).all() and np.isfinite(more).all()):
        raise ValueError("A score or a quality is not a finite number; measure the pair again.")
    found = []
    for share in SHARES:
        heavier = deferred(own, share, seed)
        exact = float(heavier.mean())
        quality = np.where(heavier, more, less)
        found.append(
            Worth(
                share,
                interval(quality, seed=seed),
                interval(quality - (1 - exact) * less - exact * more, seed=seed),
            )
        )
    return tuple(found)
