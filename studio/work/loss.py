"""What a run's loss measures: chosen among what this model and this machine allow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engines.errors import WorkloadError
from studio.record.events import Metric

ADHERENCE: Final = "adherence"
HAARPSI: Final = "haarpsi"
LPIPS: Final = "lpips"
READER: Final = "reader.safetensors"


@dataclass(frozen=True, slots=True)
class Loss:
    """A metric with what a winner may lose on it and what is certified of it."""

    metric: Metric
    tolerance: float
    claim: str


_LOSSES: Final = {
    ADHERENCE: Loss(
        Metric(
            name=ADHERENCE,
            title="Adherence loss",
            unit="share",
            note="Adherence is the share of the caption's attributes that a classifier finds in the picture; "
            "it judges the set of pictures, not the likeness of each one to the baseline's.",
        ),
        0.02,
        "adherence loss under 2 points",
    ),
    LPIPS: Loss(
        Metric(
            name=LPIPS,
            title="LPIPS",
            unit="",
            note="LPIPS is the perceptual distance to the baseline's picture of the same prompt and seed.",
        ),
        0.1,
        "LPIPS under 0.1",
    ),
    HAARPSI: Loss(
        Metric(
            name=HAARPSI,
            title="HaarPSI loss",
            unit="",
            note="HaarPSI measures the difference to the baseline's picture, not its worth: "
            "a different picture may be just as good.",
        ),
        0.1,
        "HaarPSI loss under 0.1",
    ),
}


def choose_metric(model: Path, wanted: str | None = None) -> Loss:
    """The loss of a run on the model in folder `model`.

    Raises:
        WorkloadError: the metric that the user wants is unknown or cannot be computed here.
    """
    reader = (model / READER).is_file()
    if wanted is None:
        return _LOSSES[ADHERENCE if reader else HAARPSI]
    if wanted not in _LOSSES:
        raise WorkloadError(f"There is no metric {wanted}; there are: {', '.join(_LOSSES)}.")
    if wanted == ADHERENCE and not reader:
        raise WorkloadError(
            "Adherence needs the model's attribute reader, which is not there; choose haarpsi."
        )
    return _LOSSES[wanted]
