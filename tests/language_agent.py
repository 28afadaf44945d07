"""Answers of a language model for whole runs, for tests: what it is asked decides what it answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.messages_service import Given, Streamed

USAGE = {"input_tokens": 900, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 5000}


def plan(
    *steps: tuple[str, dict[str, Any]], code: str = "", kind: str = "new", **more: Any
) -> dict[str, Any]:
    """One plan as the model would give it."""
    return {
        "kind": kind,
        "parents": [],
        "recipe": [{"technique": name, "parameters": values} for name, values in steps],
        "code": code,
        "speedup": 2.0,
        "loss": 0.01,
        "why": "Denoising takes most of the time.",
        **more,
    }


def purpose(body: dict[str, Any]) -> str:
    """`plan`, `code` or `repair`, by the prompt."""
    prompt = str(body["messages"][0]["content"])
    if prompt.startswith("Plan generation"):
        return "plan"
    return "code" if prompt.startswith("Write the script") else "repair"


def wanted(body: dict[str, Any]) -> int:
    """How many plans are asked for."""
    found = re.search(r"Give exactly (\d+) plans", str(body["messages"][0]["content"]))
    assert found is not None
    return int(found[1])


@dataclass
class Answers:
    """What to answer by purpose, each list in turn, its last one on and on."""

    plans: Sequence[Sequence[dict[str, Any]] | Given]
    codes: Sequence[str | Given] = ()
    repairs: Sequence[str | Given] = ()
    asked: list[str] = field(default_factory=list)
    watch: Callable[[dict[str, Any]], None] = lambda _body: None

    def __call__(self, body: dict[str, Any]) -> Given:
        self.watch(body)
        what = purpose(body)
        self.asked.append(what)
        there: Sequence[Any] = {"plan": self.plans, "code": self.codes, "repair": self.repairs}[what]
        found = there[min(self.asked.count(what), len(there)) - 1]
        if isinstance(found, str):
            given = {
                "cause": "The pictures come channels first.",
                "change": "They are turned.",
                "script": found,
            }
            return Streamed([("submit_script", given)], usage=USAGE)
        if isinstance(found, Given):
            return found
        return Streamed(
            [("thinking", "Look at the profile."), ("propose_plans", {"plans": list(found)})], usage=USAGE
        )
