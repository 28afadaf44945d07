"""The claim that a cascade makes, end to end: within a point of heavy, for a share of its time.

The threshold is chosen on the pairs; the claim is tried on captions that
nothing was trained or chosen on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from studio.plan.deferral import Interval, Pairs, deferred_share
from studio.plan.guarantee import failure_bound
from studio.plan.worth import interval

Floats = NDArray[np.float64]

POINT: Final = 0.01
CERTIFIED_ON: Final = 1200
ROOM: Final = 2.5
"""Standard errors that the chosen threshold leaves to the claim."""


@dataclass(frozen=True, eq=False)
class Option:
    """What deferred prompts get instead of heavy from the start: quality and further seconds, (N,) each."""

    title: str
    quality: Floats
    seconds: Floats


@dataclass(frozen=True, slots=True)
class Claim:
    """The cascade at its threshold, end to end, against heavy alone."""

    threshold: float
    count: int
    share: float
    light: Interval
    heavy: Interval
    cascade: Interval
    difference: Interval
    """Cascade minus heavy, two-sided 95 %."""
    bound: float
    """One-sided 95 % lower bound of the difference (Student's t, paired by caption)."""
    time: Interval
    """Share of heavy's time, the discriminator's included."""
    option: str = ""
    """What deferred prompts got; empty: heavy from the start."""

    @property
    def held(self) -> bool:
        """Within one point, on enough captions for it to be called certified."""
        return self.bound >= -POINT and self.count >= CERTIFIED_ON

    def sentence(self) -> str:
        """What was found."""
        if self.held:
            verdict = "certified"
        elif self.bound >= -POINT:
            verdict = f"shown, not certified: that takes {CERTIFIED_ON} captions"
        else:
            verdict = "not shown"
        how = f" Deferred prompts: heavy {self.option}." if self.option else ""
        return (
            f"Within one point of heavy's adherence: {verdict} (95 % lower bound {self.bound * 100:+.2f} "
            f"points, {self.count} captions), for {percent(self.time)} of heavy's time.{how}"
        )


def choose(pairs: Pairs, count: int, option: Option | None = None) -> float:
    """The threshold, chosen on the pairs, with the least time whose loss should be certifiable on `count`.

    The mean difference to heavy less `ROOM` standard errors stays within one point; the error is that of
    a mean over `count` captions as foreseen from these pairs, which are themselves but so many.
    """
    quality, further = _deferred(pairs, option)
    best, threshold = np.inf, float(np.nextafter(pairs.scores.max(), np.inf))
    for point in np.unique(np.append(pairs.scores, threshold)):
        later = pairs.scores < point
        difference = np.where(later, quality, pairs.light_quality) - pairs.heavy_quality
        seconds = float(np.mean(pairs.light_seconds + later * further))
        room = ROOM * float(difference.std(ddof=1)) * np.sqrt(1 / count + 1 / len(pairs))
        if float(difference.mean()) - room >= -POINT and seconds < best:
            best, threshold = seconds, float(point)
    return threshold


def certify(pairs: Pairs, threshold: float, seed: int = 0, option: Option | None = None) -> Claim:
    """The claim on fresh captions; nothing of them may have chosen the threshold."""
    from scipy import stats

    deferred_quality, further = _deferred(pairs, option)
    later = pairs.scores < threshold
    quality = np.where(later, deferred_quality, pairs.light_quality)
    seconds = pairs.light_seconds + pairs.discriminator_seconds + later * further
    difference = quality - pairs.heavy_quality
    count = len(pairs)
    error = float(difference.std(ddof=1)) / np.sqrt(count)
    bound = float(difference.mean()) - float(stats.t.ppf(0.95, count - 1)) * error
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=1000)
    low, high = np.quantile((draws @ seconds) / (draws @ pairs.heavy_seconds), [0.025, 0.975])
    return Claim(
        threshold=threshold,
        count=count,
        share=float(deferred_share(pairs.scores, [threshold])[0]),
        light=interval(pairs.light_quality, seed=seed),
        heavy=interval(pairs.heavy_quality, seed=seed),
        cascade=interval(quality, seed=seed),
        difference=interval(difference, seed=seed),
        bound=bound,
        time=Interval(float(seconds.sum() / pairs.heavy_seconds.sum()), float(low), float(high)),
        option="" if option is None else option.title,
    )


def _deferred(pairs: Pairs, option: Option | None) -> tuple[Floats, Floats]:
    """Quality and further seconds of each prompt where it is deferred."""
    if option is None:
        return pairs.heavy_quality, pairs.heavy_seconds
    return option.quality, option.seconds


def kept_sentence(pairs: Pairs, threshold: float, margin: float) -> str:
    """How many kept pictures of fresh captions are worse than heavy's; they did not choose the threshold."""
    kept = pairs.scores >= threshold
    poor = int((kept & (pairs.heavy_quality - pairs.light_quality > margin)).sum())
    count = int(kept.sum())
    return (
        f"From a score of {threshold:.3g} up, {poor} of {count} kept pictures are worse than heavy's by more "
        f"than {margin * 100:.3g} points: with 95 % confidence at most {failure_bound(poor, count):.1%} are "
        "(Clopper-Pearson; one threshold, chosen beforehand)."
    )


def percent(found: Interval) -> str:
    """A share with its interval."""
    return f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})"
