"""How well scores tell two classes apart, and whether they can be read as probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from studio.plan.deferral import CONFIDENCE, RESAMPLES, Interval, wilson


@dataclass(frozen=True, slots=True)
class Bin:
    """Prompts with similar scores: what was said and what was so."""

    count: int
    said: float
    """Mean score."""
    found: float
    """Share of the positive class."""

    @property
    def interval(self) -> Interval:
        """Of what was found, 95 %."""
        return wilson(round(self.found * self.count), self.count)


def _area(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    # Inside, because the window imports this module and must not wait for SciPy.
    from scipy import stats

    hits = int(positive.sum())
    misses = positive.size - hits
    ranks = stats.rankdata(scores)
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))


def roc_auc(
    positive: ArrayLike, scores: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval | None:
    """Area under the ROC curve with a bootstrap interval; ties count half.

    `None` where one class is absent: the area is undefined then.
    """
    labels, values = np.asarray(positive, dtype=bool), np.asarray(scores, dtype=np.float64)
    if labels.all() or not labels.any():
        return None
    generator = np.random.default_rng(seed)
    areas = []
    for _ in range(resamples):
        drawn = generator.integers(labels.size, size=labels.size)
        if labels[drawn].any() and not labels[drawn].all():
            areas.append(_area(labels[drawn], values[drawn]))
    low, high = np.quantile(areas, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(_area(labels, values), float(low), float(high))


def roc_curve(positive: ArrayLike, scores: ArrayLike, points: int = 51) -> tuple[tuple[float, float], ...]:
    """False and true positive rate from (0, 0) to (1, 1), in at most `points` corners.

    Equal scores are one step.  Empty where one class is absent.
    """
    labels, values = np.asarray(positive, dtype=bool), np.asarray(scores, dtype=np.float64)
    if labels.all() or not labels.any():
        return ()
    order = np.argsort(-values, kind="stable")
    last = np.append(np.flatnonzero(np.diff(values[order])), labels.size - 1)
    hits, misses = np.cumsum(labels[order])[last], np.cumsum(~labels[order])[last]
    true = np.append(0.0, hits / labels.sum())
    false = np.append(0.0, misses / (~labels).sum())
    kept = np.unique(np.round(np.linspace(0, true.size - 1, min(points, true.size))).astype(int))
    return tuple(zip(false[kept].tolist(), true[kept].tolist(), strict=True))


def reliability(positive: ArrayLike, scores: ArrayLike, bins: int = 5) -> tuple[Bin, ...]:
    """Equally filled bins by score; a calibrated scorer has `said` near `found` in each."""
    labels, values = np.asarray(positive, dtype=bool), np.asarray(scores, dtype=np.float64)
    groups = np.array_split(np.argsort(values, kind="stable"), min(bins, values.size))
    return tuple(
        Bin(int(group.size), float(values[group].mean()), float(labels[group].mean())) for group in groups
    )


def brier(positive: ArrayLike, scores: ArrayLike) -> float:
    """Mean squared error of the scores as probabilities; 0.25 is a coin."""
    labels, values = np.asarray(positive, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    return float(np.mean((values - labels) ** 2))
