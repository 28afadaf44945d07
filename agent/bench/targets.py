"""What can be asked for: the best of a search that was measured, under bounds and without some techniques."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.evolution.front import Judged, measured

BOUNDS: Final = (0.5, 1.0, 1.5, 2.5, 4.0)
"""Bounds on the quality loss, in what a winner may lose in the run's metric: 1 to 8 points of adherence."""
LEAST: Final = 1.2
"""A smaller gain than this is no target."""
COUNT: Final = 31
"""Three difficulties of each make the published 93."""


@dataclass(frozen=True, slots=True)
class Target:
    """The best speed-up found within a loss and without some techniques."""

    speedup: float
    loss: float
    without: tuple[str, ...]
    baseline: float
    """Seconds per image of the unchanged model."""
    found: str
    """The candidate that reached it."""


def targets(history: Sequence[Judged], tolerance: float, count: int = COUNT) -> list[Target]:
    """From one search: first each candidate that is the best of something, at its tightest bound.

    Only where these are too few, the same candidates at looser bounds follow.
    Two exclusions that leave the same best candidate say the same: the smaller one stays.
    """
    baseline = next((one for one in history if one.is_baseline and one.is_measured), None)
    there = [one for one in measured(history) if not one.is_baseline and not one.candidate.proposal.code]
    if baseline is None or not there:
        return []
    used = sorted({step.technique for one in there for step in one.candidate.proposal.recipe})
    exclusions: list[tuple[str, ...]] = [(), *((name,) for name in used), *itertools.combinations(used, 2)]
    seen: set[tuple[float, str]] = set()
    found: list[Target] = []
    for without in exclusions:
        for loss in (round(bound * tolerance, 4) for bound in BOUNDS):
            able = [
                one
                for one in there
                if one.loss <= loss
                and not {step.technique for step in one.candidate.proposal.recipe} & set(without)
            ]
            if not able:
                continue
            best = min(able, key=lambda one: one.seconds)
            times = best.verdict.speedup
            ratio = times.value if times is not None else baseline.seconds / best.seconds
            if ratio < LEAST or (loss, best.id) in seen:
                continue
            seen.add((loss, best.id))
            found.append(Target(round(ratio, 3), loss, without, baseline.seconds, best.id))
    tightest: dict[str, Target] = {}
    for target in found:
        best_so_far = tightest.get(target.found)
        if best_so_far is None or target.loss < best_so_far.loss:
            tightest[target.found] = target
    first = [target for target in found if tightest[target.found] is target]
    return [*first, *(target for target in found if tightest[target.found] is not target)][:count]
