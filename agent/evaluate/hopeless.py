"""Whether a candidate can be given up before it is measured in full.

Two lines: a loss at which pictures are worth nothing, the reference point of
the run's hypervolume or less, and a time far beyond the baseline's.  Behind either a
candidate adds nothing to the front.  It is given up only where a one-sided
bound lies behind the line, not where an average does:

- loss: after every batch of pictures, Student's bound of the mean, at a level
  shared among all the looks (Bonferroni), so that repeated looking accuses no
  more often than `WRONG` in all.  Pictures are few and attributes are counted in steps,
  so their spread is taken as `SPREAD` at least: four equal losses are no
  proof of a spread of nothing.
- time: calls in turns with the baseline (`engines.measure.timing`), the same
  interval of the ratio that a full measurement has, once.

The line for time is far off because a slower candidate may need less memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from agent.candidate import Interval, Stage, Verdict
from agent.evolution.front import WORST_LOSS
from engines.measure import bootstrap
from engines.measure.timing import Timing

SLOWER: Final = 2.0
"""Times the baseline's seconds: beyond it a candidate is given up."""
WRONG: Final = 0.01
"""Probability that a candidate right at the loss's line is given up, all looks together."""
SPREAD: Final = 0.05
"""Standard deviation of a loss that is assumed at least."""
UNRELATED: Final = 0.75
"""Share of what pictures of other prompts lose, from which on pictures are worth nothing."""
TURNS: Final = 3
"""Turns that the first timing takes."""


class Hopeless(Exception):
    """A candidate is given up; `verdict`: failed, said to be stopped, with what was seen of it so far."""

    def __init__(
        self,
        stage: Stage,
        reason: str,
        evidence: str,
        loss: Interval | None = None,
        latency: Interval | None = None,
        speedup: Interval | None = None,
    ) -> None:
        super().__init__(reason)
        self.verdict = Verdict(
            "failed", stage, reason, evidence, latency=latency, speedup=speedup, loss=loss, stopped=True
        )


def line(unrelated: float, *, of_worth: bool) -> float:
    """The loss at which pictures are worth nothing: the front's own limit, or less.

    `unrelated` is what the baseline's pictures of other prompts lose.  By a metric of worth, pictures that
    lose most of so much show hardly anything of what was asked for; one that measures difference says that of
    good pictures as well, and moves nothing.
    """
    if not of_worth or not unrelated >= WORST_LOSS / 2:  # of one prompt only, or of a poor model: no measure
        return WORST_LOSS
    return min(WORST_LOSS, UNRELATED * unrelated)


def least_loss(losses: ArrayLike, looks: int) -> float:
    """The mean loss at least, one-sided, where `looks` are taken at it in all; -inf below two pictures."""
    from scipy import stats

    found = np.asarray(losses, dtype=np.float64)
    found = found[np.isfinite(found)]
    if len(found) < 2:
        return -math.inf
    spread = max(float(found.std(ddof=1)), SPREAD)
    width = float(stats.t.ppf(1 - WRONG / looks, len(found) - 1)) * spread / math.sqrt(len(found))
    return float(found.mean()) - width


def worthless(
    losses: ArrayLike,
    looks: int,
    stage: Stage,
    limit: float = WORST_LOSS,
    seen: Callable[[], str] = str,
) -> None:
    """Give up a candidate whose pictures are surely worth nothing; `seen` says what else shows of them.

    Raises:
        Hopeless: so they are.
    """
    least = least_loss(losses, looks)
    if least <= limit:
        return
    found = bootstrap.mean(losses)
    count = int(np.isfinite(np.asarray(losses, dtype=np.float64)).sum())
    raise Hopeless(
        stage,
        f"Stopped early, after {count} pictures: its loss is {found.value:.2f} and surely above {limit:.2g}, "
        "at which pictures are worth nothing.",
        f"Losses of {count} pictures: {_listed(losses)}. One-sided bound of their mean at "
        f"{1 - WRONG / looks:.2%} (look shared among {looks}): {least:.3f}. "
        f"Not timed, not measured in full.\n{seen()}".strip(),
        loss=Interval(found.value, found.low, found.high),
    )


def slow_at_first(seconds: float, usual: float) -> bool:
    """Whether a call makes it worth taking turns at once: no proof, only a reason to look."""
    return seconds > SLOWER * usual


def too_slow(timing: Timing, loss: Interval | None) -> None:
    """Give up a candidate that surely takes far longer than the baseline.

    Raises:
        Hopeless: so it does.
    """
    speedup, latency = timing.speedup, timing.latency
    if not speedup.high < 1 / SLOWER:
        return
    raise Hopeless(
        "smoke",
        f"Stopped early, after {len(timing.turns)} turns: it takes {1 / speedup.value:.1f} times the "
        f"baseline's time and surely more than {SLOWER:g} times.",
        f"Seconds an image in turns: baseline {_listed(timing.baseline)}; candidate "
        f"{_listed([float(np.median(turn)) for turn in timing.turns])}. Speed-up at most {speedup.high:.3f} "
        "(one-sided 97.5 %). Its other pictures were not drawn.",
        loss=loss,
        latency=Interval(latency.value, latency.low, latency.high),
        speedup=Interval(speedup.value, speedup.low, speedup.high),
    )


def _listed(values: ArrayLike | Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in np.asarray(values, dtype=np.float64))
