"""The run's quality metric: what the y axis shows.

Loss is lower for better pictures and 0 for the baseline.  Adherence where the
prompts are scenes and the model brings its reader; else LPIPS where its
weights are on disk; else HaarPSI, which measures difference and not worth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from engines.errors import WorkloadError
from engines.measure import bootstrap, images
from engines.measure.bootstrap import Interval, Side

if TYPE_CHECKING:
    from engines.scenes.reader import Reader

Name = Literal["adherence", "lpips", "haarpsi"]
Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]
READER: Final = "reader.safetensors"

NOTES: Final[dict[Name, str]] = {
    "adherence": "Share of the captions' attributes that are lost against the baseline.",
    "lpips": "Perceptual distance to the baseline's pictures (LPIPS, AlexNet).",
    "haarpsi": "1 - HaarPSI to the baseline's pictures: it measures difference, not worth.",
}
_PAIRED: Final[Mapping[str, Callable[[Pixels, Pixels], Values]]] = {
    "psnr": images.psnr,
    "ssim": images.ssim,
    "haarpsi": images.haarpsi,
    "lpips": images.lpips,
}


@dataclass(frozen=True)
class Quality:
    """Judges sets of pictures of the same prompts and seeds."""

    name: Name
    reader: Reader | None = None

    @property
    def note(self) -> str:
        return NOTES[self.name]

    def values(self, pictures: Pixels, references: Pixels, prompts: Sequence[str]) -> dict[str, Values]:
        """All that can be computed, by picture (N,): `psnr` (dB), `ssim`, `haarpsi`, `lpips`, `adherence`."""
        found = {name: metric(pictures, references) for name, metric in _PAIRED.items()}
        if self.reader is not None:
            found["adherence"] = self.reader.adherence(pictures, prompts)
        return {name: values for name, values in found.items() if np.isfinite(values).any()}

    def losses(self, values: Mapping[str, Values], reference_adherence: Values | None) -> Values:
        """The run's loss by picture (N,), from what `values` returned."""
        if self.name == "adherence":
            assert reference_adherence is not None
            return np.asarray(reference_adherence - values["adherence"])
        if self.name == "lpips":
            return values["lpips"]
        return np.asarray(1 - values["haarpsi"])

    def loss(self, losses: Values, side: Side = "both") -> Interval:
        """Mean loss with its 95 % interval."""
        return bootstrap.mean(losses, side)


def choose(model: Path, prompts: Sequence[str], wanted: str | None = None) -> Quality:
    """The metric for a model folder and the prompts that it will be judged on.

    Raises:
        WorkloadError: the wanted metric is unknown or cannot be computed here.
    """
    reader = _reader(model) if any(_asks(prompt) for prompt in prompts) else None
    has_lpips, sentence = images.lpips_available()
    match wanted:
        case None:
            return Quality("adherence" if reader is not None else "lpips" if has_lpips else "haarpsi", reader)
        case "adherence" if reader is None:
            raise WorkloadError(
                "Adherence needs prompts that name scenes and a model with a reader; choose haarpsi."
            )
        case "lpips" if not has_lpips:
            raise WorkloadError(sentence)
        case "adherence" | "lpips" | "haarpsi":
            return Quality(wanted, reader)
    raise WorkloadError(f"There is no metric {wanted!r}; choose adherence, lpips or haarpsi.")


def _asks(prompt: str) -> bool:
    from engines.scenes.grammar import parse

    return len(parse(prompt)) > 0


def _reader(model: Path) -> Reader | None:
    path = model / READER
    if not path.is_file():
        return None
    from engines.scenes.reader import load_reader

    return load_reader(path)
