"""Which recipe to measure next, so that a table covers the joint space and the neighbourhood of its front.

First what a run's first generation asks for and every technique alone; then in
turns the recipe that lies farthest from all measured ones, and a neighbour of
the best two ranks.  No contender of the replay has a hand in it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from agent.bench.table import Row, Table
from agent.candidate import Recipe
from agent.evolution.front import rank
from agent.evolution.space import Space, Value, key
from agent.planner.builtin import forecast
from agent.planner.context import Context
from agent.planner.seeds import seeds
from agent.planner.structures import Fits, assemble, at_random, neighbours

_DRAWN: Final = 48
"""Legal recipes of which the farthest is measured."""
_NEAR: Final = 24
"""Ranked candidates whose neighbours are measured."""


def next_recipe(context: Context, table: Table, fits: Fits, seed: int) -> tuple[Recipe, str] | None:
    """A recipe that is not in the table, and what it is for; None: nothing is left.

    The same table gives the same answer.
    """
    known = {key(row.recipe) for row in table.rows} | {key(())}
    draw = random.Random(f"{seed}/{len(table.rows)}")
    for recipe in _first(context, table, fits):
        if key(recipe) not in known and fits(recipe):
            return recipe, "seed"
    ways = [
        lambda: _farthest(context.space, table.rows, fits, draw, known),
        lambda: _beside(context, table, fits, draw, known),
    ]
    for at in range(2):
        way = (len(table.rows) + at) % 2
        if (found := ways[way]()) is not None:
            return found, ("spread", "front")[way]
    return None


def _first(context: Context, table: Table, fits: Fits) -> Iterator[Recipe]:
    """What every run begins with, and each technique alone.

    Where a technique cannot go alone, it goes with the first engine that takes it.
    """
    fresh = replace(context, history=table.judged[:1])
    for wish, _ in seeds(fresh, forecast(fresh), fits):
        yield assemble(context.space, wish, fits)
    engines = context.space.options("engine") if context.space.has("engine") else []
    for option in context.space.all_options:
        alone = (option,)
        yield alone
        if option not in engines and not fits(alone):
            pairs = (context.space.canonical((option, engine)) for engine in engines)
            yield from islice((pair for pair in pairs if fits(pair)), 1)


def _farthest(
    space: Space, rows: Sequence[Row], fits: Fits, draw: random.Random, known: set[str]
) -> Recipe | None:
    points = [space.point(row.recipe) for row in rows]
    drawn = [recipe for recipe in islice(at_random(space, draw, fits), _DRAWN) if key(recipe) not in known]
    return max(
        drawn,
        key=lambda recipe: min((distance(space, space.point(recipe), one) for one in points), default=0.0),
        default=None,
    )


def _beside(
    context: Context, table: Table, fits: Fits, draw: random.Random, known: set[str]
) -> Recipe | None:
    """One technique or one number away from one of the best."""
    space = context.space
    best = rank([one for one in table.judged if not one.is_baseline], context.reference)[:_NEAR]
    draw.shuffle(best)
    for parent in best:
        recipe = parent.candidate.proposal.recipe
        here = space.point(recipe)
        numbers = [
            other
            for other in space.slice(recipe)
            if sum(value != here[name] for name, value in space.point(other).items()) == 1
        ]
        moves = [move.recipe for move in neighbours(space, recipe, fits)]
        for pool in draw.sample([numbers, moves], 2):
            fresh = [other for other in pool if key(other) not in known and fits(other)]
            if fresh:
                return draw.choice(fresh)
    return None


def distance(space: Space, one: dict[str, Value], other: dict[str, Value]) -> float:
    """How far two points of the joint space are apart (Gower 1971): a technique or choice that differs is 1,
    a number its share of the range."""
    total = 0.0
    for axis in space.axes:
        total += one[axis.technique] != other[axis.technique]
        for parameter in axis.parameters:
            name = f"{axis.technique}.{parameter.name}"
            ours, theirs = one[name], other[name]
            if parameter.kind == "choice":
                total += ours != theirs
            elif ours != theirs:
                reach = float(parameter.high) - float(parameter.low)
                total += abs(float(ours) - float(theirs)) / reach
    return total
