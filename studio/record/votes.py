"""A person's blind votes on a run's pictures, kept beside its journal: one JSON line each.

The last vote on the same prompt, seed and pair counts, so that one can be taken back or changed.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

FILE: Final = "votes.jsonl"
Preferred = Literal["a", "b", "same", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Vote:
    """Which of two candidates' pictures of one prompt and seed a person preferred, without knowing whose."""

    prompt: str
    seed: int
    a: str
    b: str
    """Candidates' ids."""
    preferred: Preferred


def keep(run: Path, vote: Vote) -> None:
    """Append a vote to the run's file.

    Raises:
        OSError: it cannot be written.
    """
    line = json.dumps({"time": round(time.time(), 3)} | asdict(vote), ensure_ascii=False)
    with (run / FILE).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def votes(run: Path, light: str, heavy: str) -> dict[tuple[str, int], bool | None]:
    """Whether the heavy picture was preferred, by prompt and seed; `None` where they could not be told apart.

    Lines that cannot be read are passed over: a file cut short loses its last vote, not all.
    """
    found: dict[tuple[str, int], bool | None] = {}
    try:
        lines = (run / FILE).read_text(encoding="utf-8").splitlines()
    except OSError:
        return found
    for line in lines:
        try:
            entry = json.loads(line)
            key, pair = (str(entry["prompt"]), int(entry["seed"])), (entry["a"], entry["b"])
            preferred = entry["preferred"]
        except (ValueError, KeyError, TypeError):
            continue
        if set(pair) != {light, heavy} or preferred not in ("a", "b", "same", "withdrawn"):
            continue
        found.pop(key, None)
        if preferred != "withdrawn":
            found[key] = None if preferred == "same" else pair[preferred == "b"] == heavy
    return found
