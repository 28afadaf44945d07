"""What the user wants in every candidate, added to recipes that lack it."""

from __future__ import annotations

from dataclasses import dataclass

from agent.candidate import Recipe, Step
from agent.evolution.space import Space
from agent.planner.structures import Fits, make_room


@dataclass(frozen=True, slots=True)
class Wanted:
    """`tokens` are techniques, or one with its choice (`engine/openvino`).

    `engine` is the backend for techniques that need one where a recipe has chosen none.
    """

    tokens: tuple[str, ...]
    space: Space
    fits: Fits
    engine: str | None

    def met(self, recipe: Recipe) -> bool:
        """Whether a recipe has all of it."""
        return not self._missing(recipe)

    def added_to(self, recipe: Recipe) -> Recipe:
        """The recipe with what it lacks, as far as that fits, less what excludes it."""
        for token in self._missing(recipe):
            for option in self._options(token):
                added = make_room(self.space, recipe, option, self.fits) or self._on_engine(recipe, option)
                if added is not None:
                    recipe = added
                    break
        return recipe

    def _missing(self, recipe: Recipe) -> list[str]:
        if not self.tokens:
            return []
        there = {*self.space.structure(recipe), *(step.technique for step in recipe)}
        return [token for token in self.tokens if token not in there]

    def _options(self, token: str) -> list[Step]:
        technique, _, choice = token.partition("/")
        options = self.space.options(technique)
        return [one for one in options if self.space.token(one) == token] if choice else options

    def _on_engine(self, recipe: Recipe, option: Step) -> Recipe | None:
        if self.engine is None:
            return None
        engine = self.space.step("engine", backend=self.engine)
        base = make_room(self.space, recipe, engine, self.fits)
        return None if base is None else make_room(self.space, base, option, self.fits)
