"""What a language model's tasks will cost at a guess, before the first of them is asked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from agent.bench.solve import Part
from agent.bench.tasks import Task
from agent.llm.briefing import Surroundings
from agent.llm.estimate import Estimate, calls_of, estimate_calls
from agent.llm.presets import Preset
from agent.llm.spending import Rates
from agent.planner.context import Context


@dataclass(frozen=True, slots=True)
class Asking:
    """How an agent asks: see `agent.bench.solve.Language`."""

    preset: Preset
    surroundings: Surroundings
    loops: bool
    without: Collection[Part]
    rates: Rates | None
    generations: int
    population: int

    def estimate(self, tasks: Sequence[Task], context: Context) -> Estimate:
        """For tasks of one model: from everything right at once to searches that go to their end.

        An agent that does not loop asks once for a task.
        """
        aimed = sum(task.level in ("L4", "L5") for task in tasks) if self.loops else 0
        plain = len(tasks) - aimed
        repairs = self.preset.repairs if self.loops and "debugger" not in self.without else 0
        once = {"code": (plain, plain), "repair": (0, round(plain / 3) * repairs)}
        found = estimate_calls(context, self.surroundings, once, 0, self.rates)
        if not aimed:
            return found
        generations = 1 if "genetic" in self.without else self.generations
        candidates = generations * self.population
        shortest = calls_of(self.preset, 1, self.population)
        longest = calls_of(self.preset, generations, candidates)
        often = {
            purpose: (aimed * shortest[purpose][0], aimed * most)
            for purpose, (_, most) in longest.items()
            if purpose != "repair" or repairs
        }
        return found + estimate_calls(context, self.surroundings, often, candidates // 2, self.rates)
