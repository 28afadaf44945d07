"""Which candidates a run names at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from agent.evolution.front import Judged, measured

LOSSLESS_DECIBELS: Final = 30.0


def _tried(judged: Sequence[Judged]) -> list[Judged]:
    return [one for one in measured(judged) if not one.is_baseline]


def fastest(judged: Sequence[Judged], losses: Mapping[str, float] | None = None) -> Judged:
    """The fastest; of those that cannot be told from it by speed, the one that loses least.

    A candidate cannot be told from the fastest whose own speed-up (or, where there
    is none, time) lies within the fastest one's 95 % interval: taking the lossier of
    two for a difference that is noise would give quality away for nothing.

    Args:
        judged: Measured candidates, at least one.
        losses: By id, where they are better known than from the gate.

    """
    known = losses or {}
    quickest = min(judged, key=lambda one: one.seconds)
    near = [one for one in judged if one is quickest or _as_fast(one, quickest)]
    return min(near, key=lambda one: (known.get(one.id, one.loss), one.seconds))


def _as_fast(one: Judged, quickest: Judged) -> bool:
    ours, theirs = one.verdict.speedup, quickest.verdict.speedup
    if ours is not None and theirs is not None:
        return ours.value >= theirs.low
    return quickest.verdict.latency is not None and one.seconds <= quickest.verdict.latency.high


def winner(judged: Sequence[Judged], tolerance: float) -> Judged | None:
    """The fastest candidate (see `fastest`) whose loss is surely within the tolerance.

    "Surely" is the upper end of its 95 % interval.  Where the interval of none
    is narrow enough, the fastest whose measured loss is within the tolerance;
    where there is none either, the one with the smallest loss.
    """
    there = _tried(judged)
    sure = [one for one in there if one.verdict.loss is not None and one.verdict.loss.high <= tolerance]
    likely = [one for one in there if one.loss <= tolerance]
    if sure or likely:
        return fastest(sure or likely)
    return min(there, key=lambda one: (one.loss, one.seconds), default=None)


def to_certify(judged: Sequence[Judged], tolerance: float, count: int = 6) -> list[Judged]:
    """Candidates worth certifying, fastest first (see `fastest`), the winner among them.

    The gate's interval is wide: a candidate that measured within the tolerance
    may be surely within it on more prompts, and be faster than the winner.  A
    slower one is worth the try only if it lost less than all faster ones; where
    these are more than `count`, they are thinned out evenly.
    """
    best = winner(judged, tolerance)
    if best is None:
        return []
    chain: list[Judged] = []
    for one in sorted(_tried(judged), key=lambda one: (one.seconds, one.loss)):
        if one.seconds < best.seconds and one.loss <= min([tolerance, *(faster.loss for faster in chain)]):
            chain.append(one)
    if len(chain) >= count:
        chain = [chain[round(at)] for at in np.linspace(0, len(chain) - 1, count - 1)]
    left, order = [*chain, best], list[Judged]()
    while left:
        order.append(fastest(left))
        left.remove(order[-1])
    return order


def decibels(one: Judged) -> float | None:
    """PSNR against the reference."""
    found = one.verdict.metrics.get("psnr")
    return None if found is None else found.value


def lossless(judged: Sequence[Judged], least: float = LOSSLESS_DECIBELS) -> Judged | None:
    """The fastest candidate whose pictures are within `least` dB of the reference's."""
    near = [one for one in _tried(judged) if (decibels(one) or 0.0) >= least]
    return min(near, key=lambda one: one.seconds, default=None)


def best_single(judged: Sequence[Judged], tolerance: float) -> Judged | None:
    """The best of the candidates that apply one technique, by the winner's rule."""
    return winner([one for one in judged if len(one.candidate.proposal.recipe) == 1], tolerance)
