"""What earlier runs learned: looking at it, and forgetting it."""

from __future__ import annotations

from typing import Any

from studio.errors import RunError
from studio.work.job import Job
from studio.work.runs import MEMORY

ALL = "all"


def memory(job: Job) -> dict[str, Any]:
    """Command `memory`: what is remembered, the newest first.

    Returns:
        `file`, `notes` (sentences about what could not be read), `places`: [{`id`, `device`, `processor`,
        `family`, `architecture`, `passed`, `failed`, `speedup` (the largest), `learned` (seconds)}].
    """
    from agent.memory import Memory

    path = job.home / MEMORY
    kept = Memory(path)
    places = [
        {
            "id": one.place.id,
            "device": one.place.device,
            "processor": one.place.processor,
            "family": one.place.family,
            "architecture": one.place.architecture,
            "passed": one.passed,
            "failed": one.failed,
            "speedup": one.speedup,
            "learned": one.learned,
        }
        for one in kept.holdings()
    ]
    return {"file": str(path), "notes": kept.notes, "places": places}


def forget(job: Job, places: list[str]) -> dict[str, Any]:
    """Command `forget`: these places by their `id`; `all` for everything.

    Returns:
        `forgotten` (verdicts), and what `memory` says afterwards.

    Raises:
        RunError: nothing is remembered under a name; nothing is forgotten then.
        AgentError: the file cannot be written.
    """
    from agent.memory import Memory

    kept = Memory(job.home / MEMORY)
    known = {one.place.id: one.place for one in kept.holdings()}
    names = list(known) if places == [ALL] else list(dict.fromkeys(places))
    for name in names:
        if name not in known:
            there = ", ".join(known) or "nothing yet"
            raise RunError(f"Nothing is remembered as {name}; there is: {there}. `all` forgets everything.")
    gone = sum(kept.forget(known[name]) for name in names)
    return {"forgotten": gone, **memory(job)}
