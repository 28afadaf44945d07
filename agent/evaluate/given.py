"""A script of the user's own: behind the same walls as any other, unless its user agrees to none.

The engines of a literal `RECIPE` are built for it, as for every candidate.  One
that says nothing and builds engines itself cannot behind walls, where the
cache is read-only; its failure says so.  A cache of its own is no way out: what
is built for a model of some GiB breaks a candidate's limits on memory, disk and
time, and would be built anew in every process.
"""

from __future__ import annotations

from typing import Final

from agent.candidate import Candidate, Recipe
from agent.evaluate.static import declared, differs
from agent.sandbox import Answer, CandidateFailure
from agent.sandbox.limits import agreed
from engines.backends.base import READ_ONLY
from engines.paths import cache_folder

_REFUSED: Final = ("Permission denied", "Operation not permitted", "PermissionError")
_WAY_ON: Final = (
    "The script builds engines itself, which it cannot behind walls; declare a literal RECIPE, so that they "
    "are built for it, or, once you have read it, run it without walls (--without-walls, or "
    "PARETO_STUDIO_WITHOUT_WALLS=yes)."
)


def recipe_of(candidate: Candidate, written: Recipe | None) -> Recipe | None:
    """The recipe to hold a script to: its candidate's, for a user's own script what it says itself.

    Raises:
        CandidateFailure: what it says is not what its candidate declares.
    """
    declares = candidate.proposal.recipe
    if candidate.proposal.origin == "given":
        return written
    if written is not None and (problem := differs(declares, written)):
        raise CandidateFailure(problem)
    return declares


def without_walls(candidate: Candidate) -> bool:
    """Whether it runs without walls: the user's own, no engines can be built for it, and the user agrees."""
    return agreed() and _says_nothing(candidate)


def explained(candidate: Candidate, failure: CandidateFailure) -> CandidateFailure:
    """The failure; where walls kept a user's script from building engines, what to do about it."""
    text = f"{failure} {failure.evidence}"
    refused = str(cache_folder()) in text and any(word in text for word in _REFUSED)
    if _says_nothing(candidate) and (refused or READ_ONLY in text):
        return CandidateFailure(_WAY_ON, f"{failure}\n{failure.evidence}")
    return failure


def check(candidate: Candidate, answer: Answer) -> Answer:
    """What it drew.

    Raises:
        CandidateFailure: another engine stood in for one that a user's script could not build.
    """
    fallen = [text for text in answer.fallbacks if READ_ONLY in text]
    if fallen and _says_nothing(candidate):
        raise CandidateFailure(_WAY_ON, "\n".join(fallen))
    return answer


def _says_nothing(candidate: Candidate) -> bool:
    return candidate.proposal.origin == "given" and declared(candidate.script) is None
