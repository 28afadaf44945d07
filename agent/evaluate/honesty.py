"""What a script with code of its own is tried for beyond its measurement: is it what it says it is.

It is counted (`census`) whatever it declares.  With a recipe and nothing
declared beyond it, pictures, work and rows must be the recipe's
(`declared`); code that is declared in words is held to what can be checked
all the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from agent.candidate import Candidate, Recipe
from agent.evaluate import census, declared
from agent.evaluate.bench import Bench, CarriedOut
from agent.evaluate.doubt import BATCH
from agent.evaluate.measure import Measured
from agent.evaluate.prompts import Prompts
from agent.evaluate.recipes import Recipes
from agent.evaluate.reference import Reference
from agent.evaluate.trace import Seen, watch
from agent.sandbox import Answer, Process
from engines.measure import rates, robustness
from engines.plan import Precision

if TYPE_CHECKING:
    from engines.plan import Plan


class Honesty:
    """Tries the scripts of one run."""

    def __init__(self, bench: Bench, prompts: Prompts, recipes: Recipes) -> None:
        self._bench, self._prompts, self._recipes = bench, prompts, recipes
        self._device = bench.device

    def tried(
        self,
        candidate: Candidate,
        recipe: Recipe | None,
        process: Process,
        found: Measured,
        reference: Reference,
    ) -> Measured:
        """What was measured, with the count and what speaks against the script added.

        Raises:
            CandidateFailure: it fails on the way.
            BaselineError: the baseline does.
        """
        plan = None if recipe is None else self._recipes.plan(recipe)
        said = bool(candidate.proposal.code)
        timed = census.chosen(found.calls)
        seen = watch(process, timed.asked)
        held_to = None if said else plan
        checks = dict(found.robustness)
        problems = [
            census.untouched(seen),
            census.types(seen, held_to),
            census.as_timed(seen, timed),
            self._possible(seen, min(found.timing.candidate)),
        ]
        if recipe is not None and held_to is not None:
            problems.append(census.work(seen, held_to, self._recipes.work(recipe)))
            told, pictures = found.told
            problems.append(declared.rows(told, plan, pictures))
            with self._bench.carried_out(recipe) as own:
                problems.append(census.sides(seen, plan, own.watch(timed.asked)))
                differ, idle = self._held_to_work(recipe, process, own, found, reference)
            checks["declared"] = differ or robustness.OK
            problems += [differ, idle]
        problems += self._size(seen, plan)
        against = tuple(filter(None, problems))
        return replace(
            found,
            suspicions=found.suspicions + against,
            census=census.of_trace(seen, plan),
            robustness=checks,
        )

    def _size(self, seen: Seen, plan: Plan | None) -> list[str]:
        """Whether it draws at the workload's size, whatever it says of itself."""
        latent = (plan or self._recipes.plan(())).loop.latent_shape
        return [
            census.full_size(seen, plan, self._bench.watch_baseline(seen.asked)),
            census.latent_size(seen, plan, latent),
        ]

    def _possible(self, seen: Seen, fastest: float) -> str:
        def rate(precision: Precision) -> float | None:
            return rates.measure_peak(precision, self._device)

        problem = census.possible(seen, fastest, rate)
        if problem:
            # A rate that was measured beside other work is too low and would accuse the innocent.
            rates.remeasure(self._device)
            problem = census.possible(seen, fastest, rate)
        return problem

    def _held_to_work(
        self, recipe: Recipe, process: Process, own: CarriedOut, found: Measured, reference: Reference
    ) -> tuple[str, str]:
        """Suspicions from pictures and from CPU time, against the recipe as the program carries it out."""
        size = self._bench.workload.batch
        count = min(len(found.images), declared.COMPARED)

        def spent(answer: Answer) -> float:
            return answer.cpu / len(answer.images)

        def pair() -> tuple[float, float]:
            asked = self._prompts.fresh(size)
            return spent(process.generate(asked.prompts, asked.seeds)), spent(own.draw(asked))

        if recipe:
            asked = reference.asked
            parts = [asked.part(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]
            expected = np.concatenate([own.draw(part).images for part in parts])
            own.draw(self._prompts.fresh(size))  # the first call of a size may compile for it
            usual = [spent(own.draw(self._prompts.fresh(size))) for _ in range(3)]
        else:
            expected, usual = reference.images[:count], list(found.baseline_cpu)
        differ = declared.compared(found.images[:count], expected)
        return differ, declared.worked(found.cpu, usual, pair) if self._device == "cpu" else ""
