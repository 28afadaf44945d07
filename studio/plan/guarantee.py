"""What can be promised of the kept pictures, from measured pairs: Clopper-Pearson, corrected for the scan.

"With 95 % confidence at most 10 % of the kept pictures are worse than heavy's",
whether or not the scores are calibrated (arXiv 2603.14623).  It holds for
prompts like the measured ones, scored by networks that never saw them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from studio.plan.deferral import CONFIDENCE, thresholds

RATES: Final = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
"""Shares of poor pictures among the kept that a guarantee is looked for."""
RATE: Final = 0.1
"""The one that is meant where none is named."""
STRAY: Final = 0.25
"""Of the poor pictures that are allowed: so many do not end the search for a guarantee at its first step."""


@dataclass(frozen=True, slots=True)
class Guarantee:
    """The lowest threshold at which poor pictures among the kept stay under a rate; or why there is none."""

    rate: float
    confidence: float
    pairs: int
    """Measured, kept or not."""
    threshold: float | None
    kept: int = 0
    """At the threshold; so many of the pairs carry the guarantee."""
    poor: int = 0
    bound: float = 1.0
    """One-sided Clopper-Pearson bound of the share of poor pictures at the threshold."""
    needed: str = ""
    """Where there is no threshold: how many pairs it would take, as a sentence."""

    def sentence(self) -> str:
        """What holds, with the numbers that it rests on."""
        if self.threshold is None:
            return self.needed
        return (
            f"With {self.confidence:.0%} confidence at most {self.rate:.0%} of the pictures kept from a "
            f"score of {self.threshold:.3g} up are worse than heavy's by more than the margin: {self.poor} "
            f"of {self.kept} were ({self.pairs} pairs; thresholds were tested from a strict one down to the "
            "first that fails, so the scan costs no confidence)."
        )


@lru_cache(maxsize=1 << 16)
def failure_bound(failures: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """One-sided upper Clopper-Pearson bound of a failure rate.

    Raises:
        ValueError: counts that cannot be.
    """
    if not 0 <= failures <= trials or trials < 0:
        raise ValueError(f"{failures} failures in {trials} trials cannot be.")
    # Inside, because the window imports this module and must not wait for SciPy.
    from scipy import stats

    return 1.0 if failures == trials else float(stats.beta.ppf(confidence, failures + 1, trials - failures))


def samples_needed(rate: float, share_bad: float = 0.0, confidence: float = CONFIDENCE) -> int | None:
    """How many kept pictures show a failure rate under `rate` when `share_bad` of them fail.

    `None` where no number does, because as many fail as may, or more than 100,000 are needed.
    """
    if share_bad >= rate:
        return None
    low, high = 0, 1
    # Failures come whole: rounded up, so that the bound holds between the jumps too.
    while failure_bound(math.ceil(share_bad * high), high, confidence) > rate:
        low, high = high, 2 * high
        if high > 100_000:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        enough = failure_bound(math.ceil(share_bad * middle), middle, confidence) <= rate
        low, high = (low, middle) if enough else (middle, high)
    return high


def needed_sentence(scores: ArrayLike, bad: ArrayLike, *, rate: float, confidence: float = CONFIDENCE) -> str:
    """Where no threshold is safe: how many pairs the guarantee would take, as a sentence.

    The estimate supposes that further pairs are like these: it takes the kept
    share for which the fewest are needed.
    """
    values, wrong = np.asarray(scores, dtype=np.float64), np.asarray(bad, dtype=bool)
    least = samples_needed(rate, 0.0, confidence)
    head = (
        f"To say with {confidence:.0%} confidence that at most {rate:.0%} of the kept pictures are poor, "
        f"at least {least} kept pictures without a poor one are needed"
    )
    plans = []
    for point in thresholds(values):
        kept = values >= point
        # A share that was seen in a handful of pictures says nothing about the next hundred.
        if kept.sum() < min(20, 0.1 * values.size):
            continue
        needed = samples_needed(rate, float(wrong[kept].mean()), confidence)
        if needed is not None:
            plans.append(math.ceil(needed / kept.mean()))
    if not plans:
        return f"{head}; at every threshold more than {rate:.0%} are poor here, so more pairs would not help."
    if min(plans) <= values.size:
        return (
            f"{head}, and the surest pictures hold too many poor ones; about {2 * values.size} pairs may do."
        )
    return f"{head}; with scores like these about {min(plans)} pairs would do, and there are {values.size}."


def guarantee(scores: ArrayLike, bad: ArrayLike, *, rate: float, confidence: float = CONFIDENCE) -> Guarantee:
    """The lowest threshold at which bad pictures among the kept stay under `rate`.

    `bad` (n,) says which light pictures must not be kept.  Thresholds are
    tested from a strict one down and the scan ends at the first failure, so
    the confidence holds for the whole scan (fixed-sequence test; acceptance
    bound as in arXiv 2603.14623).  The first test keeps so many pictures that
    `STRAY` of what is allowed may fail there: from the strictest threshold of
    all, one poor picture in thirty would end the scan.  Where it begins
    depends on how many pairs there are, never on their labels.

    Raises:
        ValueError: a score that is not finite, or a rate that is no share.
    """
    values, wrong = np.asarray(scores, dtype=np.float64), np.asarray(bad, dtype=bool)
    if not np.isfinite(values).all():
        raise ValueError("A score is not a finite number; train the discriminator again.")
    if not 0 < rate < 1:
        raise ValueError(
            f"At most {rate:.3g} of the kept pictures cannot be promised; give a share in between."
        )
    found = Guarantee(rate, confidence, int(values.size), None)
    begin = samples_needed(rate, STRAY * rate, confidence)
    if begin is None or begin > values.size:
        begin = samples_needed(rate, 0.0, confidence)
    for point in thresholds(values)[::-1]:
        kept = values >= point
        trials, poor = int(kept.sum()), int(wrong[kept].sum())
        if begin is None or trials < begin:
            continue
        bound = failure_bound(poor, trials, confidence)
        if bound > rate:
            break
        found = Guarantee(rate, confidence, int(values.size), float(point), trials, poor, bound)
    if found.threshold is None:
        return replace(found, needed=needed_sentence(values, wrong, rate=rate, confidence=confidence))
    return found


def guarantees(scores: ArrayLike, bad: ArrayLike, *more: float) -> tuple[Guarantee, ...]:
    """For each of `RATES` and `more`, ascending."""
    return tuple(guarantee(scores, bad, rate=rate) for rate in sorted({*RATES, *more}))
