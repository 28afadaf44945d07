"""Tokens and money: what answers cost, what a run may cost, and what it will cost at a guess."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from agent.errors import KnowledgeError
from agent.llm.errors import BudgetSpent, LlmUnusable
from agent.llm.key import is_official

CHARACTERS: Final = 3.5
"""Characters to a token where the service has not counted: code and English, a cautious figure."""
_DATED: Final = re.compile(r"-\d{8}$")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer, each in one of four classes."""

    input: int = 0
    output: int = 0
    write: int = 0
    """Prompt tokens written to the service's cache."""
    read: int = 0
    """Prompt tokens read from it."""
    estimated: bool = False
    """The service did not say (a cut answer); counted from the characters."""

    @property
    def total(self) -> int:
        return self.input + self.output + self.write + self.read

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.write + other.write,
            self.read + other.read,
            self.estimated or other.estimated,
        )


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars for a million tokens of each class."""

    input: float
    output: float
    write: float
    read: float
    above: int = 0
    """Prompt tokens beyond which `long` counts; 0: never."""
    long: Rates | None = None

    def price(self, usage: Usage) -> float:
        """US dollars for one answer."""
        prompt = usage.input + usage.write + usage.read
        rates = self.long if self.long is not None and self.above and prompt > self.above else self
        return (
            usage.input * rates.input
            + usage.output * rates.output
            + usage.write * rates.write
            + usage.read * rates.read
        ) / 1e6


@dataclass(frozen=True, slots=True)
class Prices:
    """The table of `assets/prompts/prices.toml`."""

    as_of: str
    source: str
    models: Mapping[str, Rates]

    def rates(self, model: str, url: str = "") -> Rates | None:
        """What a model costs at an address; None: not known, so tokens only."""
        if not is_official(url):
            return None
        return self.models.get(model) or self.models.get(_DATED.sub("", model))


def parse_prices(text: str) -> Prices:
    """Read the table.

    Raises:
        KnowledgeError: it is not of the form that its head describes.
    """
    try:
        data = tomllib.loads(text)
        models = {name: _rates(one) for name, one in data["model"].items()}
        return Prices(data["as_of"].isoformat(), str(data["source"]), models)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise KnowledgeError(
            f"The prices of the language models cannot be read ({error!r}); install Pareto Studio again."
        ) from error


def _rates(data: Mapping[str, Any]) -> Rates:
    long = data.get("long")
    found = Rates(
        float(data["input"]),
        float(data["output"]),
        float(data["write"]),
        float(data["read"]),
        int(long["above"]) if long else 0,
        _rates(long) if long else None,
    )
    if min(found.input, found.output, found.write, found.read) < 0:
        raise ValueError("a price below zero")
    return found


@functools.cache
def prices() -> Prices:
    """The prices that ship with this installation."""
    from agent.llm.prompts import folder

    return parse_prices((folder() / "prices.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Budget:
    """What the service may cost in one run; None: no limit."""

    usd: float | None = None
    tokens: int | None = None

    def __str__(self) -> str:
        parts = [f"${self.usd:.2f}"] if self.usd is not None else []
        parts += [f"{self.tokens:,} tokens"] if self.tokens is not None else []
        return " and ".join(parts) or "no limit"


_AMOUNT: Final = re.compile(
    r"^\s*(?P<dollar>\$)?\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<scale>[kKmM])?\s*(?P<unit>usd|dollars?|t|tok|tokens?)?\s*$",
    re.IGNORECASE,
)


def read_budget(text: str) -> Budget:
    """`2.50`, `$2.50` or `2.5 usd` in US dollars; `300k tokens` or `1.5Mt` in tokens.

    Raises:
        ValueError: neither.
    """
    found = _AMOUNT.match(text)
    if found is None or not float(found["number"]) > 0:
        raise ValueError(f"{text!r} is no budget; write for example 2.50 (US dollars) or 300k tokens")
    scale = {"k": 1e3, "m": 1e6}.get((found["scale"] or "").lower(), 1.0)
    amount = float(found["number"]) * scale
    if (found["unit"] or "").lower().startswith("t"):
        if found["dollar"]:
            raise ValueError(f"{text!r} is both dollars and tokens; give one")
        return Budget(tokens=round(amount))
    if found["scale"] and not (found["dollar"] or found["unit"]):
        raise ValueError(
            f"{text!r} could be dollars or tokens; write {text.strip()} tokens or {text.strip()} usd"
        )
    return Budget(usd=amount)


@dataclass(slots=True)
class Spending:
    """What a run has spent on the service, and whether it may go on.

    Raises (on creation):
        LlmUnusable: a budget in money for a model whose price is not known.
    """

    rates: Rates | None
    budget: Budget = field(default_factory=Budget)
    usage: Usage = field(default_factory=Usage)
    usd: float = 0.0
    calls: int = 0
    _usual: dict[str, float] = field(default_factory=dict)
    """Tokens of the dearest answer so far, by purpose."""

    def __post_init__(self) -> None:
        if self.budget.usd is not None and self.rates is None:
            raise LlmUnusable(
                "The price of this model at this address is not known, so a budget in money cannot be kept; "
                "give it in tokens, for example --llm-budget '300k tokens'."
            )

    def price(self, usage: Usage) -> float | None:
        """US dollars; None where the price is not known."""
        return None if self.rates is None else self.rates.price(usage)

    def add(self, usage: Usage, purpose: str = "") -> float | None:
        """Count an answer; its price."""
        price = self.price(usage)
        self.usage, self.usd, self.calls = self.usage + usage, self.usd + (price or 0.0), self.calls + 1
        self._usual[purpose] = max(self._usual.get(purpose, 0.0), usage.total)
        return price

    def allow(self, prompt: int, most: int, purpose: str = "", failed: Usage | None = None) -> int:
        """How many tokens the next answer may have, at most `most`, after a prompt of `prompt` tokens.

        `failed` is what attempts have cost that are not counted yet.

        Raises:
            BudgetSpent: the budget has no room for an answer of use.
        """
        room = float(most)
        failed = failed or Usage()
        if self.budget.tokens is not None:
            left = self.budget.tokens - self.usage.total - failed.total
            room = min(room, left - max(float(prompt), self._usual.get(purpose, 0.0) - most))
        if self.budget.usd is not None and self.rates is not None:
            rest = (
                self.budget.usd
                - self.usd
                - self.rates.price(failed)
                - prompt * max(self.rates.input, self.rates.write) / 1e6
            )
            room = min(room, rest * 1e6 / self.rates.output)
        if room < min(most, LEAST):
            raise BudgetSpent(
                f"The budget for the language model ({self.budget}) is used up: {self.text()} after "
                f"{self.calls} calls. Give it more with --llm-budget and resume the run."
            )
        return int(room)

    def text(self) -> str:
        """`$0.42, 118,000 tokens`."""
        tokens = f"{self.usage.total:,} tokens"
        return tokens if self.rates is None else f"${self.usd:.2f}, {tokens}"


LEAST: Final = 1024
"""An answer with fewer tokens than this holds no plan and no script."""


def tokens_of(text: str) -> int:
    """A guess at the tokens of a text."""
    return round(len(text) / CHARACTERS)


def prices_path() -> Path:
    """Where the table lies, to be shown."""
    from agent.llm.prompts import folder

    return folder() / "prices.toml"
