"""The planner that needs no key and no network.

First a spread set: the techniques that promise most, each alone, and
combinations for three ends: fast with the quality kept, nearly lossless, and
as fast as can be.  Then, in every generation, four refinements of the front
(numbers by the Gaussian process, structure by mutation and recombination) and
three new structures chosen by the forecast.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np

from agent.candidate import Origin, Proposal, Recipe
from agent.errors import RecipeError
from agent.evolution.choice import LOSSLESS_DECIBELS, decibels, lossless
from agent.evolution.front import Judged, elites, front, measured
from agent.evolution.numbers import Tuner
from agent.evolution.space import Structure, key
from agent.planner import avoided
from agent.planner.context import Context
from agent.planner.forecast import Evidence, Forecast, earlier, evidence, number_range
from agent.planner.seeds import best_engine, satisfied, seeds
from agent.planner.structures import Fits, Move, assemble, at_random, joined, neighbours
from agent.planner.wanted import Wanted
from agent.planner.wishes import called, heeded, of_all
from agent.planner.words import title_of

Idea = Literal["numbers", "structure", "join", "lossless", "within", "single", "fresh"]

ROUND: Final[tuple[Idea, ...]] = ("numbers", "lossless", "structure", "within", "join", "single", "numbers")
"""One generation: four refined (numbers twice, structure, join) and three new, new and old taking turns."""
_REFINED: Final = frozenset({"numbers", "structure", "join"})
WORTH_ALONE: Final = 1.15
"""A technique whose expected speed-up alone is smaller is not measured alone."""
_POOL: Final = 16
"""Recipes that the forecast lets through to the Gaussian process."""
_SERIOUS: Final = 0.3
"""Share of the best forecast gain that lets a recipe through as well."""


def forecast(context: Context, *, knowledge: bool = True) -> Forecast:
    """Expectations from the baseline's profile, this run's verdicts and, believed less, earlier runs'."""
    baseline = context.baseline
    seconds = 1.0 if baseline is None or baseline.latency is None else baseline.latency.value
    known: list[Evidence] = evidence(context.history)
    for one in context.memory:
        if one.state != "passed" or one.speedup is None:
            continue
        try:
            recipe = context.space.canonical(one.recipe)
        except RecipeError:
            continue
        if recipe:
            known.append(
                earlier(
                    recipe,
                    one.speedup,
                    seconds,
                    one.loss if one.metric == context.metric else None,
                    here=not one.elsewhere,
                )
            )
    return Forecast(
        context.space,
        seconds,
        {} if baseline is None else baseline.stages,
        context.steps,
        context.guided,
        context.reference[1],
        tuple(known),
        context.facts,
        context.device,
        blind=not knowledge,
    )


def expected_gain(context: Context, world: Forecast, recipe: Recipe, members: Sequence[Judged]) -> float:
    """Area that a recipe is expected to add to a front on the plan's own plot.

    Both axes are logarithmic, loss from the tolerance on: speed counts in ratios,
    and a point of loss counts more near the tolerance than far beyond it.  A
    dominated recipe gets minus its distance from the front, so that any pool is
    ordered.
    """

    def place(seconds: float, loss: float) -> tuple[float, float]:
        return math.log(seconds), math.log1p(max(loss, 0.0) / context.tolerance)

    hoped = world.expect(recipe)
    time, loss = place(hoped.seconds, hoped.loss)
    end, worst = place(*context.reference)
    if time >= end or loss >= worst:
        return -1e3
    there = [place(one.seconds, one.loss) for one in members]
    behind = [min(time - x, loss - y) for x, y in there if x <= time and y <= loss]
    if behind:
        return -max(behind)
    right = min((x for x, y in there if x > time and y <= loss), default=end)
    height = min((y for x, y in there if x <= time), default=worst)
    area, left = 0.0, time
    for x, y in sorted((x, y) for x, y in there if time < x < right):
        area += (x - left) * max(0.0, height - loss)
        left, height = x, min(height, y)
    return area + (right - left) * max(0.0, height - loss)


class BuiltinPlanner:
    """Deterministic: the same context gives the same proposals."""

    def __init__(self, at_once: int | None = 1, *, knowledge: bool = True) -> None:
        self.at_once = at_once
        """One at a time by default, so that each proposal knows every verdict before it."""
        self._knowledge = knowledge
        """False: nothing but verdicts is known, and the first generation is drawn at random."""

    def propose(self, context: Context, count: int) -> list[Proposal]:
        context = heeded(context)
        done = len(context.planned(context.generation))
        expected = forecast(context, knowledge=self._knowledge)
        wanted = of_all(context.notes, context.space).wanted
        # What was wished for last is held longest, where not all of it goes together or is left to try.
        turns = [_Turn(context, expected, wanted[at:]) for at in range(len(wanted) + 1)]
        for turn in turns[1:]:
            turn.tried, turn.pending = turns[0].tried, turns[0].pending
        found: list[Proposal] = []
        for at in range(done, done + count):
            proposal = next((one for turn in turns if (one := turn.idea(at)) is not None), None)
            if proposal is None:
                break
            found.append(proposal)
        return found


@dataclass
class _Turn:
    """One call of the planner: what is proposed in it is not proposed twice."""

    context: Context
    forecast: Forecast
    wanted: tuple[str, ...] = ()
    """What the user wants in every candidate: techniques, or one with its choice (`engine/openvino`)."""

    def __post_init__(self) -> None:
        context = self.context
        self.space = context.space
        self.tried = context.tried()
        self.tried.update(
            avoided.broke_before(context)
        )  # in place: a context may rule out more than it lists
        idle = () if self.forecast.blind else avoided.idle(context)
        self.fits = Fits(context.check, context.space, avoided.dead(context) + idle)
        engine = best_engine(context, self.forecast, self.fits) if self.wanted else None
        self.wish = Wanted(self.wanted, self.space, self.fits, engine)
        self.random = random.Random(f"{context.seed}/{context.generation}/{len(context.history)}")
        self.numpy_random = np.random.default_rng(self.random.getrandbits(64))
        self.elites = elites(context.history, context.reference)
        self.pending: list[Recipe] = []

    @cached_property
    def tuner(self) -> Tuner:
        context = self.context
        tuner = Tuner(
            self.space, context.history, context.reference, context.tolerance, self.random.getrandbits(31)
        )
        for recipe in self.pending:
            tuner.wait_for(recipe)
        return tuner

    def idea(self, at: int) -> Proposal | None:
        """The proposal for a place of the generation."""
        if self.context.generation <= 1:
            return self.seed()
        return self.next(ROUND[at % len(ROUND)], at)

    def fresh(self, recipe: Recipe) -> bool:
        """Whether a canonical recipe is legal, untried and has what the user wants."""
        return bool(recipe) and key(recipe) not in self.tried and self.fits(recipe) and self.wish.met(recipe)

    def take(self, recipe: Recipe, why: str, origin: Origin, parents: Sequence[Judged] = ()) -> Proposal:
        self.tried.add(key(recipe))
        self.pending.append(recipe)
        if self.wanted:
            why = f"{why} As you wished, with {' and '.join(called(token) for token in self.wanted)}."
        return Proposal(recipe, why, origin, tuple(parent.id for parent in parents))

    # -- the first generation --------------------------------------------------------------------

    def seed(self) -> Proposal | None:
        """The next of the spread set that is legal and untried; afterwards what the forecast likes best."""
        if self.forecast.blind:
            return self._fresh("seed")
        for wish, why in seeds(self.context, self.forecast, self.fits):
            recipe = assemble(self.space, wish, self.fits)
            wished = self.wish.added_to(recipe)
            if satisfied(wish, recipe) and self.fresh(wished):
                return self.take(wished, why, "seed")
        return self._single("seed") or self._fresh("seed")

    # -- later generations -------------------------------------------------------------------------

    def next(self, idea: Idea, at: int) -> Proposal | None:
        """One idea of the round; where it finds nothing, the next best one."""
        ways: dict[Idea, Callable[[], Proposal | None]] = {
            "numbers": lambda: self._numbers(at),
            "structure": lambda: self._structure(at),
            "join": self._join,
            "lossless": self._lossless,
            "within": self._within,
            "single": self._single,
            "fresh": self._fresh,
        }
        others: tuple[Idea, ...] = (
            ("structure", "join", "numbers", "fresh")
            if idea in _REFINED
            else ("within", "fresh", "structure")
        )
        return next((found for way in (idea, *others) if (found := ways[way]()) is not None), None)

    def _gain(self, world: Forecast, recipe: Recipe) -> float:
        return expected_gain(self.context, world, recipe, self.front)

    @cached_property
    def hope(self) -> Judged | None:
        """The fastest that is within the tolerance by its own measurement and by what its like measured.

        The gate's interval is wide: of many, the luckiest measurement is within it too.
        """
        tolerance = self.context.tolerance
        there = [
            one
            for one in measured(self.context.history)
            if not one.is_baseline
            and one.loss <= tolerance
            and self.forecast.expect(self.space.canonical(one.candidate.proposal.recipe)).loss <= tolerance
        ]
        return min(there, key=lambda one: one.seconds, default=None)

    @cached_property
    def front(self) -> list[Judged]:
        return front(self.context.history)

    def _shortlist(self, pool: Iterable[Recipe], count: int = _POOL) -> list[Recipe]:
        """The untried recipes of a pool with the best forecasts."""
        there = {key(recipe): recipe for recipe in pool if self.fresh(recipe)}
        gains = {text: self._gain(self.forecast, recipe) for text, recipe in there.items()}
        ordered = sorted(there, key=lambda text: (-gains[text], text))[:count]
        enough = _SERIOUS * gains[ordered[0]] if ordered and gains[ordered[0]] > 0 else -math.inf
        return [there[text] for text in ordered if gains[text] >= enough]

    def _spread(self, recipe: Recipe, limit: int) -> list[Recipe]:
        """A recipe and others of its structure, numbers varied."""
        return [recipe, *self.space.slice(recipe, limit)]

    def _parents(self, at: int) -> list[Judged]:
        """Elites, a different one first each time; the likely winner leads the first turn of a round."""
        best = self.hope
        there = self.elites
        turn = (self.context.generation + at) % len(there) if there else 0
        rotated = [*there[turn:], *there[:turn]]
        return [best, *(one for one in rotated if one.id != best.id)] if best and at == 0 else rotated

    def _numbers(self, at: int) -> Proposal | None:
        """Numbers of an elite, tuned by the Gaussian process inside its structure."""
        for parent in self._parents(at):
            recipe = self.space.canonical(parent.candidate.proposal.recipe)
            before = number_range(self.space, recipe)
            pool = self._shortlist(self.space.slice(recipe)) if before else []
            if not pool:
                continue
            chosen = self.tuner.choose(pool)
            after = number_range(self.space, chosen)
            changed = ", ".join(
                f"{name.replace('.', ' ')} {after[name]:g} (was {before[name]:g})"
                for name in after
                if after[name] != before.get(name)
            )
            return self.take(
                chosen,
                f"{self._about(parent)}; from {len(measured(self.context.history))} verdicts the Gaussian "
                f"process expects the front to gain most by {changed}.",
                "refined",
                [parent],
            )
        return None

    def _structure(self, at: int) -> Proposal | None:
        """A technique of an elite added, dropped or exchanged; the Gaussian process settles which."""
        for parent in self._parents(at):
            recipe = self.space.canonical(parent.candidate.proposal.recipe)
            moves = neighbours(self.space, recipe, self.fits)
            pool = self._shortlist(
                other
                for moved in map(self.wish.added_to, (move.recipe for move in moves))
                for other in self._spread(moved, 24 if len(moves) > 12 else 96)
            )
            if not pool:
                continue
            chosen = self.tuner.choose(pool)
            return self.take(chosen, self._changed(parent, recipe, chosen), "refined", [parent])
        return None

    def _changed(self, parent: Judged, before: Recipe, after: Recipe) -> str:
        was, now = set(self.space.structure(before)), set(self.space.structure(after))
        gained = [self._because(token, parent) for token in sorted(now - was)]
        lost = [title_of(token) for token in sorted(was - now)]
        parts = ([f"adds {', '.join(gained)}"] if gained else []) + (
            [f"drops {', '.join(lost)}"] if lost else []
        )
        return f"{self._about(parent)}; {' and '.join(parts) or 'changes its numbers'}."

    def _because(self, token: str, parent: Judged) -> str:
        """A technique with the part of the parent's time that it goes for."""
        stage = {"tiny-decoder": "decode", "prompt-cache": "encode"}.get(token, "denoise")
        total = sum(parent.verdict.stages.values())
        here = parent.verdict.stages.get(stage, 0.0)
        share = f" ({stage} is {here / total:.0%} of its time)" if total > 0 and here > 0 else ""
        return f"{title_of(token)}{share}"

    def _join(self) -> Proposal | None:
        """Two front members joined; the pair and the numbers that promise most."""
        there = [one for one in self.front if not one.is_baseline] or self.elites
        moves: dict[str, tuple[Move, Judged, Judged]] = {}
        for index, one in enumerate(there):
            for other in there[index + 1 :]:
                for move in joined(
                    self.space,
                    self.space.canonical(one.candidate.proposal.recipe),
                    self.space.canonical(other.candidate.proposal.recipe),
                    self.fits,
                ):
                    moves.setdefault(key(move.recipe), (move, one, other))
        origin: dict[str, tuple[Judged, Judged]] = {}
        pool: list[Recipe] = []
        for move, one, other in moves.values():
            for recipe in self._spread(self.wish.added_to(move.recipe), 24):
                origin.setdefault(key(recipe), (one, other))
                pool.append(recipe)
        pool = self._shortlist(pool)
        if not pool:
            return None
        chosen = self.tuner.choose(pool)
        one, other = origin[key(chosen)]
        return self.take(
            chosen,
            f"{self._about(one)}; {self._about(other)}: together they may be faster.",
            "refined",
            [one, other],
        )

    def _about(self, one: Judged) -> str:
        speedup = one.verdict.speedup
        fast = f"{speedup.value:.1f}x" if speedup is not None else f"{one.seconds:.3g} s an image"
        return f"{one.id} reaches {fast} at a loss of {self.context.loss_text(one.loss)}"

    @cached_property
    def new_pool(self) -> list[Recipe]:
        """Legal recipes from everywhere: neighbours of the front, and structures drawn at random."""
        found = {
            key(recipe): recipe
            for recipe in map(self.wish.added_to, at_random(self.space, self.random, self.fits, attempts=250))
        }
        for one in self.front:
            parent = self.space.canonical(one.candidate.proposal.recipe)
            for recipe in map(
                self.wish.added_to, (move.recipe for move in neighbours(self.space, parent, self.fits))
            ):
                found.setdefault(key(recipe), recipe)
        structures = {self.space.structure(recipe): recipe for recipe in found.values()}
        for recipe in structures.values():
            for other in self.space.slice(recipe, 8):
                found.setdefault(key(other), other)
        return [recipe for recipe in found.values() if self.fresh(recipe)]

    def _single(self, origin: Origin = "new") -> Proposal | None:
        """The most promising technique that was not measured alone yet."""
        known = {
            self.space.structure(one.candidate.proposal.recipe)
            for one in self.context.history
            if len(one.candidate.proposal.recipe) == 1
        } | {self.space.structure(recipe) for recipe in self.pending if len(recipe) == 1}
        worth = {
            one.candidate.proposal.recipe[0].technique: self.forecast.seconds / one.seconds
            for one in sorted(measured(self.context.history), key=lambda one: -one.seconds)
            if len(one.candidate.proposal.recipe) == 1
        }
        singles: list[Recipe] = [
            (option,)
            for option in self.space.all_options
            if self.space.structure((option,)) not in known and self.fresh((option,))
        ]
        singles += self._on_engine()
        promise = {
            key(single): self.forecast.seconds / self.forecast.expect(single).seconds for single in singles
        }
        singles = [
            single
            for single in singles
            if promise[key(single)] >= max(WORTH_ALONE, *(worth.get(step.technique, 0.0) for step in single))
        ]
        if not singles:
            return None
        best = max(singles, key=lambda single: promise[key(single)])
        names = " with ".join(title_of(token) for token in reversed(self.space.structure(best)))
        return self.take(
            best,
            f"{names[:1].upper()}{names[1:]} alone, to tell what it is worth by itself: "
            f"{promise[key(best)]:.1f}x is expected.",
            origin,
        )

    def _on_engine(self) -> list[Recipe]:
        """Techniques that never ran here and cannot go alone, each with the engine that it needs."""
        name = best_engine(self.context, self.forecast, self.fits)
        if name is None:
            return []
        engine = self.space.step("engine", backend=name)
        used = {step.technique for one in self.context.history for step in one.candidate.proposal.recipe}
        pairs = (
            self.space.canonical((option, engine))
            for option in self.space.all_options
            if option.technique not in used | {"engine"} and not self.fits((option,))
        )
        return [pair for pair in pairs if self.fresh(pair)]

    def _lossless(self) -> Proposal | None:
        """The fastest recipe that should stay within 30 dB of the reference pictures."""
        best = lossless(self.context.history)
        bar = math.inf if best is None else best.seconds
        near: Counter[Structure] = Counter(
            self.space.structure(one.candidate.proposal.recipe)
            for one in measured(self.context.history)
            if LOSSLESS_DECIBELS - 4 < (decibels(one) or 0.0) < LOSSLESS_DECIBELS
        )
        # A structure that just missed before is aimed higher the next time.
        return self._goal(
            lambda recipe: (
                self.forecast.expect(recipe).decibels
                - LOSSLESS_DECIBELS
                - 1.0
                - near[self.space.structure(recipe)]
            ),
            bar,
            lambda hoped, times: (
                f"Nearly lossless: {hoped.decibels:.0f} dB at {times:.1f}x is expected, "
                + (
                    "where nothing has reached 30 dB yet."
                    if best is None
                    else f"where {best.id} has {decibels(best) or 0.0:.0f} dB at "
                    f"{self.forecast.seconds / bar:.1f}x."
                )
            ),
            best,
        )

    def _within(self) -> Proposal | None:
        """The fastest recipe whose loss should stay within the tolerance."""
        tolerance = self.context.tolerance
        best = self.hope
        bar = math.inf if best is None else best.seconds
        return self._goal(
            lambda recipe: tolerance - (hoped := self.forecast.expect(recipe)).loss - 0.7 * hoped.unsure,
            bar,
            lambda hoped, times: (
                f"Fast within {self.context.loss_text(tolerance)}: {times:.1f}x at "
                f"{self.context.loss_text(max(0.0, hoped.loss))} is expected"
                + (f", where {best.id} has {self.forecast.seconds / bar:.1f}x." if best else ".")
            ),
            best,
        )

    def _goal(
        self,
        slack: Callable[[Recipe], float],
        bar: float,
        why: Callable[..., str],
        best: Judged | None,
    ) -> Proposal | None:
        """The fastest expected recipe with slack to spare that beats the bar (seconds)."""
        pool = self.new_pool
        if best is not None:
            own = self.space.canonical(best.candidate.proposal.recipe)
            pool = [*pool, *(recipe for recipe in self.space.slice(own, 256) if self.fresh(recipe))]
        able = [recipe for recipe in pool if key(recipe) not in self.tried and slack(recipe) > 0]
        chosen = min(
            able, key=lambda recipe: (self.forecast.expect(recipe).seconds, key(recipe)), default=None
        )
        if chosen is None:
            return None
        hoped = self.forecast.expect(chosen)
        if hoped.seconds >= bar:
            return None
        return self.take(chosen, why(hoped, self.forecast.seconds / hoped.seconds), "new")

    def _fresh(self, origin: Origin = "new") -> Proposal | None:
        """A new structure that would pay most in one plausible world drawn from the forecast."""
        world = self.forecast.draw(self.numpy_random)
        known = {self.space.structure(one.candidate.proposal.recipe) for one in self.context.history}
        pool = [recipe for recipe in self.new_pool if key(recipe) not in self.tried]
        pool = [recipe for recipe in pool if self.space.structure(recipe) not in known] or pool
        if not pool:
            return None
        chosen = max(pool, key=lambda recipe: (self._gain(world, recipe), key(recipe)))
        hoped = self.forecast.expect(chosen)
        return self.take(
            chosen,
            f"A structure not tried yet: {self.forecast.seconds / hoped.seconds:.1f}x at a loss of "
            f"{self.context.loss_text(max(0.0, hoped.loss))} is expected, and nothing like it was measured.",
            origin,
        )
