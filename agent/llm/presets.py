"""How the language model evolves candidates: the published constants, and ours."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from agent.evolution.front import Judged, Reference, elites, measured


@dataclass(frozen=True, slots=True)
class Preset:
    """Constants of a run with a language model."""

    name: str
    title: str
    generations: int
    population: int
    """Evaluations in a generation, repairs and regenerations not counted."""
    keep: int
    """Parents that live on without being evaluated again."""
    new: int
    """Of the population, how many are new structures; the rest are refined from the parents."""
    regenerations: int
    """How often a script is written anew after the repairs have failed."""
    repairs: int
    replans: int
    """How often, in a generation, a plan that failed for good is replaced by another one."""
    numbers: Literal["language", "mathematics"]
    """Who tunes numbers: the language model, or the Gaussian process inside its structures."""
    tuned: int
    """Of the refined ones, how many are the Gaussian process's own, from an elite's structure."""
    selection: Literal["fitness", "hypervolume"]
    writes: Literal["always", "free code"]
    """When the language model writes the script; a recipe alone is carried out by a fixed script else."""
    fills: bool
    """Whether the built-in planner takes places for which there are too few plans; it always takes them
    where there is none at all, so that an answer that never came does not end a run."""


PAPER: Final = Preset(
    "paper", "As published (DiffAgent)", 4, 7, 4, 3, 5, 3, 1, "language", 0, "fitness", "always", False
)
"""arXiv 2601.03178: population 7, keep 4 by fitness, add 3, 4 generations, 5 regenerations, 3 repairs, then
back to planning; how often that is not said there, and here it is once in a generation."""

HYBRID: Final = Preset(
    "hybrid",
    "Structure by language, numbers by mathematics",
    4,
    7,
    4,
    3,
    0,
    3,
    1,
    "mathematics",
    2,
    "hypervolume",
    "free code",
    True,
)
PRESETS: Final = {one.name: one for one in (PAPER, HYBRID)}


def kept(
    history: Sequence[Judged],
    reference: Reference,
    tolerance: float,
    preset: Preset,
    draw: random.Random,
) -> list[Judged]:
    """The parents of the next generation, at most `preset.keep`.

    *paper*: drawn without replacement in proportion to a fitness that weighs
    speed and quality alike (the published weights are not known): the speed-up
    over the best one's, and one minus the loss over four tolerances.
    *hybrid*: by Pareto rank and hypervolume contribution.
    """
    if preset.selection == "hypervolume":
        return elites(history, reference, preset.keep)
    there = [one for one in measured(history) if not one.is_baseline]
    fastest = min((one.seconds for one in there), default=1.0)
    left = [
        (one, 0.5 * fastest / one.seconds + 0.5 * max(0.0, 1 - max(one.loss, 0.0) / (4 * tolerance)))
        for one in there
    ]
    found: list[Judged] = []
    while left and len(found) < preset.keep:
        (chosen,) = draw.choices(range(len(left)), [weight + 1e-9 for _, weight in left])
        found.append(left.pop(chosen)[0])
    return found
