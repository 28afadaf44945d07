"""Pareto fronts over (seconds per image, quality loss); both are minimised."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.candidate import Candidate, Verdict

Reference = tuple[float, float]
"""Hypervolume reference point: (seconds per image, loss); fixed when a run starts."""

BASELINE: Final = "c000"
WORST_LOSS: Final = 0.5
"""Loss at which a picture is worth nothing, by whichever metric."""
SLOWER: Final = 1.1
"""The reference point's time over the baseline's."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate and what the stages found."""

    candidate: Candidate
    verdict: Verdict

    @property
    def id(self) -> str:
        return self.candidate.id

    @property
    def is_baseline(self) -> bool:
        return self.candidate.proposal.origin == "baseline"

    @property
    def is_measured(self) -> bool:
        """Whether it passed with a finite time and loss, so that it is a point of the plot."""
        return (
            self.verdict.state == "passed"
            and self.verdict.latency is not None
            and self.verdict.loss is not None
            and math.isfinite(self.verdict.latency.value)
            and math.isfinite(self.verdict.loss.value)
        )

    @property
    def seconds(self) -> float:
        """Seconds per image.  Raises `ValueError` if it was not measured."""
        if self.verdict.latency is None:
            raise ValueError(f"{self.id} has no latency")
        return self.verdict.latency.value

    @property
    def loss(self) -> float:
        """Quality loss.  Raises `ValueError` if it was not measured."""
        if self.verdict.loss is None:
            raise ValueError(f"{self.id} has no loss")
        return self.verdict.loss.value


def reference_point(baseline: Verdict, worst_loss: float) -> Reference:
    """A tenth slower than the baseline, and the loss at which a picture is worth nothing."""
    if baseline.latency is None:
        raise ValueError("the baseline has no latency")
    return (SLOWER * baseline.latency.value, worst_loss)


def points(judged: Iterable[Judged]) -> NDArray[np.float64]:
    """(N, 2) of seconds and loss."""
    return np.array([(one.seconds, one.loss) for one in judged], dtype=np.float64).reshape(-1, 2)


def measured(judged: Iterable[Judged]) -> list[Judged]:
    return [one for one in judged if one.is_measured]


def front(judged: Iterable[Judged]) -> list[Judged]:
    """What nothing dominates, from fastest to best.  Of equal points the first one counts."""
    import moocore

    there = measured(judged)
    if not there:
        return []
    kept = moocore.is_nondominated(points(there))
    return sorted(
        (one for one, keep in zip(there, kept, strict=True) if keep), key=lambda one: (one.seconds, one.loss)
    )


def hypervolume(judged: Iterable[Judged], reference: Reference) -> float:
    """Area between the front and the reference point (s x loss); points beyond it count nothing."""
    import moocore

    there = [one for one in measured(judged) if one.seconds < reference[0] and one.loss < reference[1]]
    return float(moocore.hypervolume(points(there), ref=reference)) if there else 0.0


def rank(judged: Sequence[Judged], reference: Reference) -> list[Judged]:
    """Measured candidates, best first: by Pareto rank, within a rank by hypervolume contribution.

    Contributions are taken within each rank, as SMS-EMOA does (Beume et al. 2007).
    """
    import moocore

    there = measured(judged)
    if not there:
        return []
    where = points(there)
    ranks = np.asarray(moocore.pareto_rank(where))
    contributions = np.zeros(len(there))
    for level in np.unique(ranks):
        chosen = np.flatnonzero(ranks == level)
        inside = chosen[(where[chosen] < np.asarray(reference)).all(axis=1)]
        if len(inside):
            contributions[inside] = moocore.hv_contributions(where[inside], ref=reference)
    order = sorted(range(len(there)), key=lambda at: (ranks[at], -contributions[at], there[at].seconds))
    return [there[at] for at in order]


def elites(judged: Sequence[Judged], reference: Reference, count: int = 4) -> list[Judged]:
    """Those that live on into the next generation without being evaluated again; never the baseline."""
    return rank([one for one in judged if not one.is_baseline], reference)[:count]


def knee(members: Sequence[Judged]) -> Judged | None:
    """The member of a front where speed stops being cheap.

    It lies farthest below the straight line from the fastest to the best
    member, with logarithmic seconds and loss each scaled to the range of the
    front (Das 1999, "On characterizing the knee of the Pareto curve").  A
    front of fewer than three members, or one that bends nowhere, has none.
    """
    if len(members) < 3:
        return None
    ordered = sorted(members, key=lambda one: one.seconds)
    time = np.log(np.maximum([one.seconds for one in ordered], 1e-12))
    loss = np.array([one.loss for one in ordered])
    width, height = time[-1] - time[0], loss[0] - loss[-1]
    if width <= 0 or height <= 0:
        return None
    below = 1 - (time - time[0]) / width - (loss - loss[-1]) / height
    at = int(np.argmax(below))
    return ordered[at] if below[at] > 1e-9 else None
