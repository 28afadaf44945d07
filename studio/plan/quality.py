"""What deferring a share of the prompts is worth, from measured tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from studio.errors import PlanError

Floats = NDArray[np.float64]


class Quality(Protocol):
    """A measured table of quality."""

    @property
    def metric(self) -> str: ...

    @property
    def higher_is_better(self) -> bool: ...

    def by_threshold(self, scores: Floats, thresholds: Floats) -> Floats:
        """Quality when scores below each threshold are deferred, shape of `thresholds`."""
        ...


@dataclass(frozen=True, eq=False)
class QualityByShare:
    """One number of the whole set for each share, such as FID; between shares a straight line.

    Holds for shares that a threshold chose, and for those at random only at 0 and 1.
    """

    metric: str
    higher_is_better: bool
    shares: Floats
    """Deferred shares, ascending, (n,)."""
    values: Floats
    low: Floats | None = None
    high: Floats | None = None

    def __post_init__(self) -> None:
        if self.shares.size < 2 or self.shares.shape != self.values.shape:
            raise PlanError("A table of quality by share needs two shares or more, with one value each.")
        if not (np.isfinite(self.shares).all() and np.isfinite(self.values).all()):
            raise PlanError("The table of quality by share holds a number that is not finite.")
        if self.shares.min() < 0 or self.shares.max() > 1 or (np.diff(self.shares) <= 0).any():
            raise PlanError("Shares in the table of quality must go from 0 to 1, each given once.")

    def at_share(self, share: ArrayLike) -> Floats:
        return np.asarray(np.interp(np.asarray(share), self.shares, self.values), dtype=np.float64)

    def by_threshold(self, scores: Floats, thresholds: Floats) -> Floats:
        below = np.searchsorted(np.sort(scores), thresholds, side="left") / scores.size
        return self.at_share(below)


@dataclass(frozen=True, eq=False)
class QualityByPrompt:
    """Both models measured on every scored prompt, in the order of the scores; shape (n,) each."""

    metric: str
    light: Floats
    heavy: Floats
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if self.light.size == 0 or self.light.shape != self.heavy.shape:
            raise PlanError("A table of quality by prompt needs a light and a heavy value for each prompt.")
        if not (np.isfinite(self.light).all() and np.isfinite(self.heavy).all()):
            raise PlanError("The table of quality by prompt holds a number that is not finite.")

    def by_threshold(self, scores: Floats, thresholds: Floats) -> Floats:
        if scores.shape != self.light.shape:
            raise PlanError(
                f"There are {scores.size} confidences for {self.light.size} prompts with a quality; "
                "give one of each for every prompt, in the same order."
            )
        order = np.argsort(scores, kind="stable")
        gained = np.concatenate(([0.0], np.cumsum((self.heavy - self.light)[order])))
        below = np.searchsorted(scores[order], thresholds, side="left")
        return np.asarray((self.light.sum() + gained[below]) / scores.size, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Choices:
    """What the planner chooses a threshold from; all arrays have shape (k,)."""

    thresholds: Floats
    """Ascending; a score below one is deferred."""
    shares: Floats
    """Deferred share f(t), ascending."""
    quality: Floats
    loss: Floats
    """Against heavy for every prompt, in the metric's unit: lower is better, below 0 beats heavy."""
    metric: str
    higher_is_better: bool

    def __len__(self) -> int:
        return int(self.thresholds.size)


def choices(scores: ArrayLike, quality: Quality, count: int = 201) -> Choices:
    """Up to `count` thresholds that spread the deferred share evenly from 0 to 1.

    Raises:
        PlanError: no scores, or scores that are not finite.
    """
    from studio.plan.deferral import deferred_share, thresholds

    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise PlanError("There are no confidences; give one for each prompt.")
    if not np.isfinite(values).all():
        raise PlanError("A confidence is not a finite number; check the table of confidences.")
    points = thresholds(values, count)
    found = quality.by_threshold(values, points)
    sign = -1.0 if quality.higher_is_better else 1.0
    return Choices(
        thresholds=points,
        shares=deferred_share(values, points),
        quality=found,
        loss=sign * (found - found[-1]),
        metric=quality.metric,
        higher_is_better=quality.higher_is_better,
    )
