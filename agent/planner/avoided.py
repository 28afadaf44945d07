"""What planners without a key leave out: what cannot be built, broke before, or is not there for speed."""

from __future__ import annotations

from typing import Final

from agent.errors import RecipeError
from agent.evolution.space import Structure
from agent.planner.context import Context
from agent.planner.wishes import of_all

_EARLY: Final = ("static", "build", "smoke")
"""Stages that end before a picture is measured."""


def dead(context: Context) -> tuple[Structure, ...]:
    """Structures that never got as far as a picture."""
    found = []
    for one in context.history:
        failed = one.verdict.state == "failed" and one.verdict.stage in _EARLY
        if failed and not one.verdict.stopped:  # given up early, it has drawn; other numbers may do
            try:
                structure = context.space.structure(one.candidate.proposal.recipe)
            except RecipeError:
                continue
            if structure:
                found.append(structure)
    return tuple(found)


def broke_before(context: Context) -> set[str]:
    """Recipes that never got as far as a picture of this very model on this processor in an earlier run.

    Only as they stand: what broke them may have been one number, or be mended.
    """
    found = set()
    for one in context.memory:
        here = not one.elsewhere and one.model == context.card.hash
        if here and one.state == "failed" and one.stage in _EARLY:
            try:
                found.add(context.space.key(one.recipe))
            except RecipeError:
                continue
    return found


def idle(context: Context) -> tuple[Structure, ...]:
    """Techniques that do not hasten here, each as a structure; but for those that the user named."""
    wishes = of_all(context.notes, context.space)
    names = {token.partition("/")[0] for token in (*wishes.wanted, *wishes.only)}
    return tuple(
        context.space.structure((option,))
        for option in context.space.all_options
        if option.technique not in names
        and (known := context.facts.get(option.technique)) is not None
        and not known.hastens
    )
