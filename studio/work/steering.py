"""Sentences to the agent: kept as they are, with what the built-in one understood of them."""

from __future__ import annotations

from agent.evolution.space import Space
from agent.planner.context import prepare
from agent.planner.wishes import answer, lesson
from studio.errors import RunError
from studio.record import events
from studio.work.ready import Ready


def steered(text: str, ready: Ready, choice: events.LlmChoice | None) -> events.RunSteered:
    """A sentence said before a run begins.

    Raises:
        RunError: the built-in agent understands nothing of it.
    """
    said = " ".join(text.split())
    if choice is not None:
        return events.RunSteered(text=said)
    space = prepare(ready.model, ready.described, ready.target, ready.workload).space
    understood = answer(said, space)
    if not understood:
        raise RunError(f"“{said}”: {lesson(space)}")
    return events.RunSteered(text=said, answer=understood)


def answered(text: str, space: Space) -> events.RunSteered:
    """A sentence said during a run, with what the built-in agent understood, or how to say it."""
    return events.RunSteered(text=text, answer=answer(text, space) or lesson(space))
