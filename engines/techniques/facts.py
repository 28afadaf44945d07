"""The knowledge file of the techniques, `assets/knowledge/techniques.toml`, read and checked once."""

from __future__ import annotations

import functools
import itertools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from engines.errors import EngineError

Risk = Literal["none", "low", "medium", "high"]
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about one technique; figures are the sources' own."""

    speed: str
    factor: tuple[float, float]
    """Whole-pipeline speed-up to expect, low and high."""
    quality: str
    risk: Risk
    limits: tuple[str, ...]
    sources: tuple[str, ...]
    needs: Mapping[str, str] = field(default_factory=dict)
    """Requirement to the sentence that is shown where it is not met."""
    hastens: bool = True
    """False: it is there for memory or for numbers that overflow, and a search for speed leaves it out."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Two techniques that do not go together."""

    between: frozenset[str]
    reason: str
    source: str


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Everything in the file."""

    techniques: Mapping[str, Facts]
    exclusions: tuple[Exclusion, ...]

    def excludes(self, technique: str) -> dict[str, str]:
        """The other techniques that `technique` does not go with, and why."""
        return {
            other: rule.reason
            for rule in self.exclusions
            if technique in rule.between
            for other in rule.between - {technique}
        }


def knowledge_file() -> Path:
    """The file in a checkout's `assets` or in `engines/_assets` of a wheel.

    Raises:
        EngineError: neither is there.
    """
    engines = Path(__file__).resolve().parents[1]
    for assets in (engines.parent / "assets", engines / "_assets"):
        path = assets / "knowledge" / "techniques.toml"
        if path.is_file():
            return path
    raise EngineError(
        "The facts about techniques are not part of this installation; install Pareto Studio again."
    )


def parse(text: str) -> Knowledge:
    """Read the knowledge file's text.

    Raises:
        EngineError: not TOML, an unknown key, a missing one, or a rule that is not about two techniques.
    """
    try:
        data = tomllib.loads(text)
        if data.pop("schema") != SCHEMA:
            raise ValueError(f"schema must be {SCHEMA}")
        techniques = {name: _facts(one) for name, one in data.pop("technique").items()}
        exclusions = tuple(one for rule in data.pop("excludes") for one in _exclusions(rule))
        if data:
            raise ValueError(f"unknown key {next(iter(data))}")
        for rule in exclusions:
            if len(rule.between) != 2 or not rule.between <= techniques.keys():
                raise ValueError(f"a rule must name two techniques, not {sorted(rule.between)}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(
            f"The facts about techniques cannot be read ({error}); install Pareto Studio again."
        ) from error
    return Knowledge(techniques, exclusions)


def _exclusions(rule: Mapping[str, Any]) -> list[Exclusion]:
    """Of one pair, or of each of `first` with each of `second`."""
    pairs = [rule["between"]] if "between" in rule else itertools.product(rule["first"], rule["second"])
    return [Exclusion(frozenset(pair), rule["reason"], rule["source"]) for pair in pairs]


def _facts(data: Mapping[str, Any]) -> Facts:
    low, high = data["factor"]
    if data["risk"] not in ("none", "low", "medium", "high"):
        raise ValueError(f"risk {data['risk']!r}")
    return Facts(
        **{
            **data,
            "factor": (float(low), float(high)),
            "limits": tuple(data["limits"]),
            "sources": tuple(data["sources"]),
        }
    )


@functools.cache
def knowledge() -> Knowledge:
    """The knowledge that ships with this installation."""
    return parse(knowledge_file().read_text(encoding="utf-8"))
