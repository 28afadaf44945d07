"""What a run will ask and cost at a guess, before it starts.

A range and no bound: the budget is the bound.  Sizes of prompts are counted
from the prompts themselves; sizes of answers and shares of failures are
assumptions, and no live model has been seen to keep to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from agent.llm.briefing import Surroundings
from agent.llm.presets import Preset
from agent.llm.service import Question
from agent.llm.spending import Rates, Usage, tokens_of
from agent.planner.context import Context
from agent.planner.llm import system_blocks, tools_for

_ROW: Final = 70
"""Tokens of a verdict in the table."""
_ASKED: Final = {"plan": 900, "code": 1800, "repair": 2600}
"""Tokens of a question beside the verdicts."""
_ANSWERED: Final = {"plan": (1200, 5000), "code": (900, 4000), "repair": (1000, 4000)}
"""Tokens of an answer, without and with long thinking."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Low and high of each; `usd` None where the price is not known."""

    calls: tuple[int, int]
    tokens: tuple[int, int]
    usd: tuple[float, float] | None

    def text(self) -> str:
        """One sentence."""
        low, high = self.tokens
        money = f", ${self.usd[0]:.2f} to ${self.usd[1]:.2f}" if self.usd is not None else ""
        return (
            f"Estimate for the language model: {self.calls[0]} to {self.calls[1]} calls, "
            f"{low:,} to {high:,} tokens{money or '; its price is not known, so tokens only'}."
        )

    def __add__(self, other: Estimate) -> Estimate:
        usd = None
        if self.usd is not None and other.usd is not None:
            usd = (self.usd[0] + other.usd[0], self.usd[1] + other.usd[1])
        return Estimate(
            (self.calls[0] + other.calls[0], self.calls[1] + other.calls[1]),
            (self.tokens[0] + other.tokens[0], self.tokens[1] + other.tokens[1]),
            usd,
        )

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "text": self.text()}


def estimate(
    context: Context,
    surroundings: Surroundings,
    preset: Preset,
    generations: int,
    population: int,
    rates: Rates | None,
) -> Estimate:
    """For a run from its beginning."""
    candidates = generations * population
    return estimate_calls(
        context, surroundings, calls_of(preset, generations, candidates), candidates // 2, rates
    )


def estimate_calls(
    context: Context,
    surroundings: Surroundings,
    often: Mapping[str, tuple[int, int]],
    verdicts: int,
    rates: Rates | None,
) -> Estimate:
    """For so many calls of each purpose, `verdicts` told in each at an average."""
    fixed = tokens_of(" " * Question(system_blocks(context, surroundings), "", tools_for(context)).characters)
    ends = []
    for at in (0, 1):
        calls = {purpose: count[at] for purpose, count in often.items()}
        total = sum(calls.values())
        asked = sum(count * (_ASKED[purpose] + _ROW * verdicts) for purpose, count in calls.items())
        answered = sum(count * _ANSWERED[purpose][at] for purpose, count in calls.items())
        # The service keeps its cache for five minutes: at worst every candidate takes longer.
        written = total if at else min(total, 1)
        usage = Usage(asked, answered, fixed * written, fixed * (total - written))
        ends.append((total, usage))
    (low_calls, low), (high_calls, high) = ends
    usd = None if rates is None else (rates.price(low), rates.price(high))
    return Estimate((low_calls, high_calls), (low.total, high.total), usd)


def calls_of(preset: Preset, generations: int, candidates: int) -> dict[str, tuple[int, int]]:
    """Calls by purpose: from everything right at once to a third of the scripts failing every repair."""
    always = preset.writes == "always"
    codes = (candidates, round(1.3 * candidates)) if always else (0, round(0.4 * candidates))
    failing = round(candidates / 3)
    again = failing * preset.regenerations if always else 0
    return {
        "plan": (generations, generations * (2 + preset.replans)),
        "code": (codes[0], codes[1] + again // 2),
        "repair": (0, failing * preset.repairs),
    }
