"""Which two candidates a cascade is made of where the user has not said."""

from __future__ import annotations

from typing import Final

from studio.errors import RunError
from studio.record.state import CandidateState, RunState

USEFUL: Final = 0.12
"""Loss that a light candidate may have; what loses more is deferred always."""
EQUAL: Final = 0.005
"""Loss below which a candidate, its interval included, is as good as the baseline."""


def light_and_heavy(state: RunState) -> tuple[str, str]:
    """The quickest of the front that is of some use, and the quickest that is as good as the baseline.

    Raises:
        RunError: nothing on the front is quicker than what is as good as the baseline.
    """
    passed = [one for one in state.candidates.values() if one.passed or one.id == "c000"]
    heavy = min((one for one in passed if _equal(one)), key=_seconds, default=None)
    front = [state.candidates[name] for name in state.front if name in state.candidates]
    quicker = [one for one in front if heavy is not None and _seconds(one) < _seconds(heavy)]
    if heavy is None or not quicker:
        raise RunError("A cascade needs two candidates, one quick and one good; this run found fewer.")
    useful = [one for one in quicker if _loss(one) <= USEFUL]
    light = min(useful, key=_seconds) if useful else min(quicker, key=_loss)
    return light.id, heavy.id


def _equal(candidate: CandidateState) -> bool:
    verdict = candidate.verdict
    return verdict is not None and verdict.loss is not None and verdict.loss.high <= EQUAL


def _seconds(candidate: CandidateState) -> float:
    verdict = candidate.verdict
    return verdict.latency.value if verdict and verdict.latency else float("inf")


def _loss(candidate: CandidateState) -> float:
    verdict = candidate.verdict
    return verdict.loss.value if verdict and verdict.loss else float("inf")
