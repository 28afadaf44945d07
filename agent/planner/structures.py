"""Moves between recipes: add, drop or swap a technique, join two parents, draw at random."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from agent.candidate import Recipe, Step
from agent.errors import RecipeError
from agent.evolution.space import Check, Space, Structure, key


@dataclass(frozen=True, slots=True)
class Move:
    """A recipe and which techniques it gained and lost against its parent."""

    recipe: Recipe
    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


class Fits:
    """Whether a recipe is legal and not of a kind that cannot be built; remembers answers.

    `dead` are structures that failed before a picture came out: a recipe that
    contains one fails again.
    """

    def __init__(self, check: Check, space: Space, dead: tuple[Structure, ...] = ()) -> None:
        self._check, self._space, self._dead = check, space, tuple(map(frozenset, dead))
        self._known: dict[str, bool] = {}

    def __call__(self, recipe: Recipe) -> bool:
        text = key(recipe)
        if text not in self._known:
            tokens = set(self._space.structure(recipe))
            self._known[text] = not any(dead <= tokens for dead in self._dead) and not self._check(recipe)
        return self._known[text]


def _without(recipe: Recipe, technique: str) -> Recipe:
    return tuple(step for step in recipe if step.technique != technique)


def _moved(parent: Recipe, recipe: Recipe, space: Space) -> Move:
    before, after = set(space.structure(parent)), set(space.structure(recipe))
    return Move(recipe, tuple(sorted(after - before)), tuple(sorted(before - after)))


def make_room(space: Space, recipe: Recipe, added: Step, fits: Callable[[Recipe], bool]) -> Recipe | None:
    """The recipe with one more technique, less at most two that exclude it; None: it does not fit."""
    base = _without(recipe, added.technique)
    wanted = space.canonical((*base, added))
    if fits(wanted):
        return wanted
    for step in base:
        fewer = space.canonical((*_without(base, step.technique), added))
        if fits(fewer):
            return fewer
    for step in base:
        for other in base:
            fewer = space.canonical((*_without(_without(base, step.technique), other.technique), added))
            if fits(fewer):
                return fewer
    return None


def neighbours(space: Space, parent: Recipe, fits: Fits) -> list[Move]:
    """One technique added (what excludes it goes), dropped, or exchanged for another of its options."""
    found: dict[Structure, Move] = {}
    here = space.structure(parent)
    for axis in space.axes:
        for option in space.options(axis.technique):
            if space.structure((option,))[0] in here:
                continue
            recipe = make_room(space, parent, option, fits)
            if recipe is not None:
                found.setdefault(space.structure(recipe), _moved(parent, recipe, space))
    for step in parent:
        fewer = _without(parent, step.technique)
        if fewer and fits(fewer):
            found.setdefault(space.structure(fewer), _moved(parent, fewer, space))
    found.pop(here, None)
    return list(found.values())


def joined(space: Space, one: Recipe, other: Recipe, fits: Fits) -> list[Move]:
    """What two parents give together: everything of one, and of the other what still fits; both ways round.

    Shared techniques take the first one's numbers.
    """
    found: dict[str, Move] = {}
    for first, second in ((one, other), (other, one)):
        recipe = first
        for step in second:
            if any(step.technique == mine.technique for mine in recipe):
                continue
            bigger = space.canonical((*recipe, step))
            if fits(bigger):
                recipe = bigger
        if key(recipe) not in (key(one), key(other)):
            found[key(recipe)] = _moved(first, recipe, space)
    return list(found.values())


def at_random(
    space: Space, rng: random.Random, fits: Fits, *, most: int = 6, attempts: int = 1000
) -> Iterator[Recipe]:
    """Legal recipes, each option and each number drawn evenly; may repeat itself.  Ends after `attempts`."""
    options = [option for axis in space.axes for option in space.options(axis.technique)]
    for _ in range(attempts):
        recipe: Recipe = ()
        for option in rng.sample(options, k=min(len(options), rng.randint(1, most))):
            values = {
                parameter.name: rng.choice(space.values(parameter))
                for parameter in space.axis(option.technique).parameters
                if parameter.kind != "choice"
            }
            step = Step(option.technique, {**option.parameters, **values})
            if any(step.technique == mine.technique for mine in recipe):
                continue
            bigger = space.canonical((*recipe, step))
            if fits(bigger):
                recipe = bigger
        if recipe:
            yield recipe


def assemble(
    space: Space, wanted: Mapping[str, Mapping[str, int | float | str | bool]], fits: Fits
) -> Recipe:
    """As many of the wanted techniques as fit together, in the order given.

    Unknown techniques and values out of range are left out.
    """
    recipe: Recipe = ()
    for name, values in wanted.items():
        try:
            bigger = space.canonical((*recipe, space.step(name, **values)))
        except RecipeError:
            continue
        if fits(bigger):
            recipe = bigger
    return recipe
