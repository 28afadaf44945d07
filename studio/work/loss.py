"""What a run's loss measures, what its winner may lose, and what is certified of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from studio.record.described import Metric


@dataclass(frozen=True, slots=True)
class Loss:
    """A metric with its words."""

    title: str
    unit: str
    tolerance: float
    """Loss that a winner may have."""
    claim: str


LOSSES: Final = {
    "adherence": Loss("Adherence loss", "share", 0.02, "adherence loss under 2 points"),
    "lpips": Loss("LPIPS", "", 0.1, "LPIPS under 0.1"),
    "clip": Loss("CLIP score loss", "share", 0.01, "CLIP score loss under 1 point"),
    "cmmd": Loss("CMMD", "", 0.1, "CMMD under 0.1"),
    "dino": Loss("DINO distance", "", 0.1, "DINO distance under 0.1"),
    "haarpsi": Loss("HaarPSI loss", "", 0.1, "HaarPSI loss under 0.1"),
}


def metric_for(model: Path, prompts: Sequence[str], wanted: str | None) -> Metric:
    """The metric that the judge will use on a model folder and these prompts.

    Raises:
        WorkloadError: the wanted metric is unknown or cannot be computed here.
    """
    from engines.measure.quality import choose

    chosen = choose(model, prompts, wanted)
    loss = LOSSES[chosen.name]
    return Metric(name=chosen.name, title=loss.title, unit=loss.unit, note=chosen.note)
