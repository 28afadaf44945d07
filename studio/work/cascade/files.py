"""Where a trained pair lies in its run's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from studio.errors import CascadeError
from studio.plan.cascade import Cascade
from studio.record.settings import write_atomically
from studio.record.sides import Pair

RESULT: Final = "cascade.json"
NETWORK: Final = "discriminator.safetensors"
REAL: Final = "real.safetensors"
"""Real against generated, for comparison."""


def read(pair: Pair) -> tuple[str, Cascade] | None:
    """What was learned of a pair, and under which key; `None` where there is nothing to be read."""
    try:
        data = json.loads((pair.place / RESULT).read_text(encoding="utf-8"))
        key, found = str(data["key"]), Cascade.from_json(data["cascade"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (key, found) if (found.light, found.heavy) == (pair.light.name, pair.heavy.name) else None


def trained(pair: Pair) -> tuple[str, Cascade] | None:
    """As `read`, of the models that the runs have now.

    Raises:
        CascadeError: it was learned of another model.
    """
    found = read(pair)
    if found is not None and (said := pair.changed(found[1].models)):
        raise CascadeError(said)
    return found


def write(pair: Pair, key: str, cascade: Cascade) -> None:
    """Keep what was learned of a pair."""
    pair.place.mkdir(parents=True, exist_ok=True)
    write_atomically(pair.place / RESULT, json.dumps({"key": key, "cascade": cascade.to_json()}))


def kept_seconds(path: Path) -> dict[str, float]:
    """Seconds by key, one JSON line for each kept picture; empty where there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        try:
            entry = json.loads(line)
            found[str(entry["key"])] = float(entry["seconds"])
        except (ValueError, KeyError, TypeError):  # the last line of a killed process
            continue
    return found
