"""Preset *paper* without a key: DiffAgent's genetic search, a forecast in its language model's place.

The first generation is the built-in planner's.  Then four parents live on,
drawn by scalar fitness; each is refined once, a technique or a number
changed, and three structures are new.  Of what could be proposed the
forecast takes what has the highest fitness in its eyes; nothing tunes numbers.

arXiv 2601.03178; what a live model would plan in the forecast's place is not known.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np

from agent.candidate import Proposal, Recipe
from agent.evolution.front import Judged, measured
from agent.evolution.space import key
from agent.llm.presets import PAPER, kept
from agent.planner import avoided
from agent.planner.builtin import BuiltinPlanner, forecast
from agent.planner.context import Context
from agent.planner.forecast import Forecast
from agent.planner.seeds import best_engine
from agent.planner.structures import Fits, at_random, neighbours
from agent.planner.wanted import Wanted
from agent.planner.wishes import heeded, of_all
from agent.planner.words import title_of

_AROUND = 64
"""Recipes of a neighbouring structure that are looked at."""
_DRAWN = 8
"""Of new recipes, how many are drawn for the forecast to choose one of."""


class PaperPlanner:
    """Plans a whole generation at a time; deterministic: the same context gives the same proposals."""

    def __init__(self, *, knowledge: bool = True) -> None:
        self.at_once: int | None = None
        self._knowledge = knowledge
        """False: nothing but verdicts is known, and the first generation is drawn at random."""

    def fits(self, context: Context) -> Fits:
        """What may be proposed."""
        idle = avoided.idle(context) if self._knowledge else ()
        return Fits(context.check, context.space, avoided.dead(context) + idle)

    def everything(self, context: Context, fits: Fits, draw: random.Random) -> list[Recipe]:
        """Where new structures are drawn from."""
        return list(at_random(context.space, draw, fits, attempts=250))

    def propose(self, context: Context, count: int) -> list[Proposal]:
        if context.generation <= 1:
            return BuiltinPlanner(knowledge=self._knowledge).propose(context, count)
        wanted = of_all(context.notes, context.space).wanted
        context = heeded(context)
        draw = random.Random(f"{context.seed}/{context.generation}")
        turn = _Turn(context, forecast(context, knowledge=self._knowledge), self.fits(context), wanted, draw)
        before = [one for one in context.history if one.candidate.generation < context.generation]
        parents = kept(before, context.reference, context.tolerance, PAPER, draw)
        # The refined ones come first in a generation, so what is planned of it already is theirs.
        for parent in parents[len(context.planned(context.generation)) :]:
            if len(turn.found) < count:
                turn.refine(parent)
        everything = turn.able(self.everything(context, turn.fits, draw))
        while len(turn.found) < count and everything:
            turn.take(draw.sample(everything, min(_DRAWN, len(everything))), None)
            everything = turn.able(everything)
        return turn.found


class _Turn:
    """One generation's planning."""

    def __init__(
        self, context: Context, known: Forecast, fits: Fits, wanted: tuple[str, ...], draw: random.Random
    ) -> None:
        self.context, self.known, self.fits = context, known, fits
        self.found: list[Proposal] = []
        self._tried = context.tried()
        self._tried.update(avoided.broke_before(context))  # in place: it may rule out more than listed
        self._chance = np.random.default_rng(draw.getrandbits(64))
        self._fastest = min((one.seconds for one in measured(context.history)), default=known.seconds)
        engine = best_engine(context, known, fits) if wanted else None
        self._wish = Wanted(wanted, context.space, fits, engine)

    def able(self, pool: Sequence[Recipe]) -> list[Recipe]:
        """What is legal, was not tried and has what the user wishes; where nothing has it, all the same."""
        space = self.context.space
        wished = [space.canonical(self._wish.added_to(recipe)) for recipe in pool]
        left = [one for one in wished if one and key(one) not in self._tried and self.fits(one)]
        return [one for one in left if self._wish.met(one)] or left

    def refine(self, parent: Judged) -> None:
        """A number of a parent changed, or a technique added, dropped or exchanged."""
        space = self.context.space
        recipe = space.canonical(parent.candidate.proposal.recipe)
        moves = [move.recipe for move in neighbours(space, recipe, self.fits)]
        around = [other for move in moves for other in islice(space.slice(move), _AROUND)]
        self.take([*space.slice(recipe), *around], parent)

    def take(self, pool: Sequence[Recipe], parent: Judged | None) -> None:
        """Propose the fittest of a pool in one world drawn from the forecast; nothing where none is left."""
        able = self.able(pool)
        if not able:
            return
        fitness = self._fitness()
        best = max(able, key=lambda recipe: (fitness(recipe), key(recipe)))
        self._tried.add(key(best))
        parents = () if parent is None else (parent.id,)
        self.found.append(Proposal(best, self._why(best, parent), "refined" if parents else "new", parents))

    def _fitness(self) -> Callable[[Recipe], float]:
        """Speed and quality weighed alike, as `agent.llm.presets.kept` draws the parents."""
        world, tolerance = self.known.draw(self._chance), self.context.tolerance

        def fitness(recipe: Recipe) -> float:
            hoped = world.expect(recipe)
            lost = max(hoped.loss, 0.0) / (4 * tolerance)
            return float(0.5 * self._fastest / hoped.seconds + 0.5 * max(0.0, 1 - lost))

        return fitness

    def _why(self, recipe: Recipe, parent: Judged | None) -> str:
        hoped = self.known.expect(recipe)
        loss = self.context.loss_text(max(0.0, hoped.loss))
        expected = f"{self.known.seconds / hoped.seconds:.1f}x at a loss of {loss} is expected."
        if parent is None:
            return f"A new structure: {expected}"
        space = self.context.space
        was, now = (set(space.structure(one)) for one in (parent.candidate.proposal.recipe, recipe))
        parts = [
            f"{word} {', '.join(map(title_of, sorted(tokens)))}"
            for word, tokens in (("adds", now - was), ("drops", was - now))
            if tokens
        ]
        changed = " and ".join(parts) or "changes its numbers"
        return f"{parent.id} was drawn by its fitness; this {changed}: {expected}"
