"""Where a trained pair lies in its run's folder."""

from __future__ import annotations

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
