"""Who searches a table: the two presets, random search, NSGA-II and TPE.

All may ask for measured recipes only, know which these are, and pay one
evaluation for each.  The presets choose among them themselves.  A point that a
sampler of Optuna draws stands for the nearest recipe that was not asked for
yet, and is told back to it as that recipe, so that it learns about what was
measured and not about what it drew; the points that it begins with are drawn
evenly from the measured recipes, which are better than the joint space is.
"As drawn" the nearest recipe may be one that was asked for before.

The built-in planner's forecast stands for the language model in both presets:
what a live model would plan is not known here.  The built-in agent is what runs
without a key; a part of its evaluations looks for other things than the front.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agent.bench.table import Row, Table
from agent.candidate import Candidate, Proposal, Recipe, Step
from agent.evolution.front import Judged, elites, front
from agent.evolution.numbers import Tuner, quiet
from agent.evolution.space import ParameterLike, Space, Structure, Value, key
from agent.llm.presets import HYBRID
from agent.planner.builtin import BuiltinPlanner, expected_gain, forecast
from agent.planner.context import Context, Planner
from agent.planner.paper import PaperPlanner
from agent.planner.structures import Fits


class TableSpace(Space):
    """A joint space thinned out to the numbers that occur in a table."""

    @classmethod
    def of(cls, space: Space, table: Table) -> TableSpace:
        made = cls(space.axes)
        found: dict[int, set[Value]] = {}
        for row in table.rows:
            for step in row.recipe:
                for parameter in space.axis(step.technique).parameters:
                    found.setdefault(id(parameter), set()).add(step.parameters[parameter.name])
        vars(made)["there"] = found
        return made

    def values(self, parameter: ParameterLike) -> list[Value]:
        there: dict[int, set[Value]] = vars(self)["there"]
        return [value for value in super().values(parameter) if value in there.get(id(parameter), set())]


class _Outside(set[str]):
    """What may not be proposed: all that is not measured, and what was asked for."""

    def __init__(self, measured: frozenset[str], asked: set[str]) -> None:
        super().__init__(asked)
        self._measured = measured

    def __contains__(self, text: object) -> bool:
        return text not in self._measured or super().__contains__(text)


@dataclass(frozen=True)
class TableContext(Context):
    """A run's context in which only measured recipes can be tried."""

    measured: frozenset[str] = frozenset()

    def tried(self) -> set[str]:
        return _Outside(self.measured, super().tried())


@dataclass(frozen=True)
class World:
    """A table with the context that its recipes belong to."""

    context: Context
    table: Table

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        return tuple(self.table.by_key.values())

    @cached_property
    def space(self) -> Space:
        """The joint space of the techniques that the table has: others became techniques after it."""
        used = {step.technique for row in self.rows for step in row.recipe}
        return Space(tuple(axis for axis in self.context.space.axes if axis.technique in used))

    @cached_property
    def judged(self) -> tuple[Judged, ...]:
        """One for each row."""
        return self.table.judged[1:]

    @cached_property
    def at(self) -> Mapping[str, int]:
        """The row of a recipe, by its canonical text."""
        return {text: index for index, text in enumerate(self.table.by_key)}

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """(N, F): the rows in coordinates whose city-block distance is `agent.bench.spread.distance`."""
        space = self.space
        return np.stack([_coordinates(space, space.point(row.recipe)) for row in self.rows])

    def objectives(self, row: int) -> list[float]:
        """What a sampler minimises, as the presets' process does: log seconds, log(1 + loss / tolerance)."""
        one = self.judged[row]
        return [math.log(one.seconds), math.log1p(max(one.loss, 0.0) / self.context.tolerance)]

    def begun(self, seed: int) -> TableContext:
        """A run in which the baseline is measured."""
        given = {one.name: getattr(self.context, one.name) for one in fields(Context)}
        context = TableContext(**given, measured=frozenset(self.at))
        space = TableSpace.of(self.space, self.table)
        return replace(context, space=space, seed=seed, history=self.table.judged[:1], memory=())


Contender = Callable[[World, int, int], list[int]]
"""`(world, seed, budget)`: the rows that it asked for, in order; none twice, but for samplers "as drawn"."""


def _coordinates(space: Space, point: Mapping[str, Value]) -> NDArray[np.float64]:
    found: list[float] = []
    for axis in space.axes:
        found.append(float(bool(point[axis.technique])))
        for parameter in axis.parameters:
            value = point[f"{axis.technique}.{parameter.name}"]
            if parameter.kind == "choice":
                found += [0.5 * (value == choice) for choice in parameter.choices]
            else:
                low, high = float(parameter.low), float(parameter.high)
                found.append((float(value) - low) / (high - low))
    return np.array(found)


# -- presets -------------------------------------------------------------------------------------


def preset(planner: Planner, world: World, seed: int, budget: int) -> list[int]:
    """A planner in the loop's order; where it has nothing left to propose, a row at random."""
    context, asked = world.begun(seed), list[int]()
    draw = random.Random(seed)
    while len(asked) < min(budget, len(world.rows)):
        generation = 1 + len(asked) // context.population
        wanted = context.population - len(asked) % context.population
        context = replace(context, generation=generation, candidate=f"c{len(asked) + 1:03}")
        proposals = planner.propose(context, min(planner.at_once or wanted, wanted))
        left = sorted(set(range(len(world.rows))) - set(asked))
        for row in [world.at[key(one.recipe)] for one in proposals] or [draw.choice(left)]:
            asked.append(row)
            context = replace(context, history=(*context.history, _as_judged(world, row, asked, generation)))
    return asked[:budget]


def _as_judged(world: World, row: int, asked: Sequence[int], generation: int) -> Judged:
    proposal = Proposal(world.rows[row].recipe, "", "new")
    return Judged(Candidate(f"c{len(asked):03}", generation, proposal, ""), world.judged[row].verdict)


class HybridPlanner:
    """Preset *hybrid* with the forecast in the place of the language model; it too plans a whole generation.

    The first generation is the built-in planner's.  Then the forecast names five
    structures that should add most to the front, and the Gaussian process settles
    their numbers; two more are the process's own numbers for elites' structures.
    """

    at_once: int | None = None

    def propose(self, context: Context, count: int) -> list[Proposal]:
        if context.generation <= 1:
            return BuiltinPlanner().propose(context, count)
        space, tried, known = context.space, context.tried(), forecast(context)
        tuner = Tuner(
            space, context.history, context.reference, context.tolerance, context.seed + context.generation
        )
        found: list[Proposal] = []

        def take(pool: Sequence[Recipe], parent: tuple[str, ...] = ()) -> None:
            able = [recipe for recipe in pool if key(recipe) not in tried]
            if able:
                best = tuner.choose(able)
                tried.add(key(best))
                found.append(Proposal(best, "", "refined" if parent else "new", parent))

        structures: dict[Structure, list[Recipe]] = {}
        for recipe in _everything(context):
            if key(recipe) not in tried:
                structures.setdefault(space.structure(recipe), []).append(recipe)
        members = front(context.history)
        worth = {
            structure: max(expected_gain(context, known, recipe, members) for recipe in pool)
            for structure, pool in structures.items()
        }
        for structure in sorted(worth, key=lambda one: (-worth[one], one))[: count - HYBRID.tuned]:
            take(structures[structure])
        for parent in elites(context.history, context.reference, HYBRID.keep):
            if len(found) < count:
                take(list(space.slice(parent.candidate.proposal.recipe)), (parent.id,))
        return found


class TablePaper(PaperPlanner):
    """Preset *paper* among measured recipes: new structures are drawn evenly from the table's."""

    def fits(self, context: Context) -> Fits:
        return Fits(context.check, context.space)

    def everything(self, context: Context, fits: Fits, draw: random.Random) -> list[Recipe]:
        del fits, draw
        return _everything(context)


def _everything(context: Context) -> list[Recipe]:
    """Every measured recipe."""
    assert isinstance(context, TableContext)
    return [
        tuple(Step(name, values) for name, values in json.loads(text)) for text in sorted(context.measured)
    ]


# -- samplers ------------------------------------------------------------------------------------


def at_random(world: World, seed: int, budget: int) -> list[int]:
    """Every measured recipe is as likely as any other."""
    rows = list(range(len(world.rows)))
    random.Random(seed).shuffle(rows)
    return rows[:budget]


def optuna_sampler(
    make: Callable[[int], Any], world: World, seed: int, budget: int, *, fresh: bool = True
) -> list[int]:
    """A sampler of Optuna over the joint space; each of its points stands for the nearest row.

    `fresh`: the nearest that it has not asked for yet.  Otherwise a row may come
    again, which costs an evaluation and shows nothing new.
    """
    import optuna

    space, asked = world.space, list[int]()
    distributions = space.distributions()
    draw = random.Random(seed)
    with quiet():
        kind = type(make(seed))

        class Snapped(kind):  # type: ignore[misc, valid-type]
            def infer_relative_search_space(self, study: Any, trial: Any) -> Any:  # noqa: ARG002
                return distributions

            def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
                drawn = super().sample_relative(study, trial, search_space)
                left = np.array(sorted(set(range(len(world.rows))) - set(asked if fresh else ())))
                if set(drawn) >= set(distributions):
                    there = _coordinates(space, space.point(space.recipe(drawn)))
                    row = int(left[np.argmin(np.abs(world.points[left] - there).sum(axis=1))])
                else:
                    row = int(draw.choice(left))
                asked.append(row)
                return space.point(world.rows[row].recipe)

        sampler = make(seed)
        sampler.__class__ = Snapped
        study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
        for _ in range(min(budget, len(world.rows))):
            trial = study.ask(distributions)
            study.tell(trial, world.objectives(asked[-1]))
    return asked


def _nsga(seed: int, population: int) -> Any:
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=seed, population_size=population)


def _tpe(seed: int) -> Any:
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, multivariate=True)


CONTENDERS: Final[Mapping[str, Contender]] = {
    "hybrid": partial(preset, HybridPlanner()),
    "built-in agent": partial(preset, BuiltinPlanner()),
    "paper": partial(preset, TablePaper()),
    "NSGA-II, population 7": partial(optuna_sampler, partial(_nsga, population=7)),
    "NSGA-II, population 24": partial(optuna_sampler, partial(_nsga, population=24)),
    "TPE": partial(optuna_sampler, _tpe),
    "random": at_random,
    "NSGA-II, population 7, as drawn": partial(optuna_sampler, partial(_nsga, population=7), fresh=False),
    "TPE, as drawn": partial(optuna_sampler, _tpe, fresh=False),
}
