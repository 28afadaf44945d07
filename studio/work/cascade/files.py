"""Where a trained pair lies in its run's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from studio.record.state import CandidateState

FOLDER: Final = "cascade"
RESULT: Final = "cascade.json"
NETWORK: Final = "discriminator.safetensors"
REAL: Final = "real.safetensors"
"""Real against generated, for comparison."""


def place_of(run: Path, light: CandidateState, heavy: CandidateState) -> Path:
    """The folder of a pair."""
    return run / FOLDER / f"{light.id}-{heavy.id}"


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
