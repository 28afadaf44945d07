"""The run's quality metric: what the y axis shows.

Loss is lower for better pictures and 0 for the baseline.  Adherence where the
prompts are scenes and the model brings its reader; else, of the metrics pack,
LPIPS or the CLIP score where they are on disk; else HaarPSI, which measures
difference and not worth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from engines.errors import WorkloadError
from engines.measure import bootstrap, encoded, enlargement, images, sets, video
from engines.measure.bootstrap import Interval, Side
from engines.metrics_pack import encoders, place
from engines.metrics_pack.contents import Name as Network

if TYPE_CHECKING:
    from engines.scenes.reader import Reader

Name = Literal["adherence", "lpips", "clip", "cmmd", "dino", "haarpsi"]
Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]
READER: Final = "reader.safetensors"

NOTES: Final[dict[Name, str]] = {
    "adherence": "Share of the captions' attributes that are lost against the baseline.",
    "lpips": "Perceptual distance to the baseline's pictures (LPIPS, AlexNet).",
    "clip": "Share of the baseline's CLIP score that is lost: how well pictures show their prompts.",
    "cmmd": "Distance between the set of pictures and the baseline's set (CMMD): not of single pictures.",
    "dino": "Distance to the baseline's pictures in DINOv2's features: what they show, not each pixel.",
    "haarpsi": "1 - HaarPSI to the baseline's pictures: it measures difference, not worth.",
}
NETWORKS: Final[Mapping[str, Network]] = {"lpips": "lpips", "clip": "clip", "cmmd": "clip", "dino": "dino"}
"""What a metric needs of the metrics pack."""
_PAIRED: Final[Mapping[str, Callable[[Pixels, Pixels], Values]]] = {
    "psnr": images.psnr,
    "ssim": images.ssim,
    "haarpsi": images.haarpsi,
    "lpips": images.lpips,
}


@dataclass(frozen=True)
class Quality:
    """Judges sets of pictures, or of clips, of the same prompts and seeds."""

    name: Name
    reader: Reader | None = None
    encoded: tuple[str, ...] = ()
    """Of `clip`, `cmmd`, `dino`: what is computed beside the paired metrics."""
    small: int = 0
    """Side in pixels of the smaller picture that a prompt names; 0 where pictures are not made from one."""

    @property
    def note(self) -> str:
        return NOTES[self.name]

    def curves(self, pictures: Pixels, references: Pixels) -> video.Curves:
        """Of clips every paired metric frame by frame, (N, F); of pictures nothing."""
        return video.per_frame(pictures, references) if video.is_clip(pictures) else {}

    def values(
        self,
        pictures: Pixels,
        references: Pixels,
        prompts: Sequence[str],
        curves: video.Curves | None = None,
    ) -> dict[str, Values]:
        """All that can be computed, by picture (N,).

        `psnr` (dB), `ssim`, `haarpsi`, `lpips`, `adherence`; of clips also `psnr_worst`, `change` and
        `flicker` (`engines.measure.video`), from `curves` where they are known; of enlarged pictures
        `consistency` (dB); and what `encoded` names.
        """
        if video.is_clip(pictures):
            found = video.summary(self.curves(pictures, references) if curves is None else curves)
            found |= video.temporal(pictures, references)
        else:
            found = {name: metric(pictures, references) for name, metric in _PAIRED.items()}
        if self.small:
            found["consistency"] = self.consistency(pictures, prompts)
        if self.encoded:
            found |= encoded.measure(self.encoded, pictures, references, prompts)
        if self.reader is not None:
            found["adherence"] = self.reader.adherence(pictures, prompts)
        return {name: values for name, values in found.items() if np.isfinite(values).any()}

    def consistency(self, pictures: Pixels, prompts: Sequence[str]) -> Values:
        """PSNR in dB (N,) of pictures made small again to those they were made from."""
        return enlargement.consistency(pictures, enlargement.given(prompts, (self.small, self.small)))

    def of_sets(self, pictures: Pixels, references: Pixels) -> tuple[dict[str, Interval], str]:
        """How far the set of pictures is from the references' set, by name, and why there is nothing.

        `kid`: by the features of the scenes' own reader, where there is one; else `cmmd`, where CLIP is here.
        Unbiased, of pairs of one prompt and seed (`engines.measure.sets`).
        """
        if len(pictures) < 2:
            return {}, "Sets are compared from two pictures on."
        encode: Callable[[Pixels], Values]
        if self.reader is not None:
            encode, kernel, name = self.reader.features, sets.cubic, "kid"
        elif place.find("clip") is not None:
            encode, kernel, name = encoders.clip().images, sets.gaussian, "cmmd"
        else:
            return {}, f"No set is compared: {place.missing('clip')}"
        ours, theirs = encoded.features(encode, pictures), encoded.features(encode, references)
        return {name: sets.discrepancy(kernel, ours, theirs, pairs=True)}, ""

    def losses(self, values: Mapping[str, Values], reference_adherence: Values | None) -> Values:
        """The run's loss by picture (N,), from what `values` returned."""
        match self.name:
            case "adherence":
                assert reference_adherence is not None
                return np.asarray(reference_adherence - values["adherence"])
            case "haarpsi":
                return np.asarray(1 - values["haarpsi"])
            case "clip":
                return values["clip_loss"]
        return values[self.name]

    def loss(self, losses: Values, side: Side = "both") -> Interval:
        """Mean loss with its 95 % interval."""
        return bootstrap.mean(losses, side)


def choose(
    model: Path,
    prompts: Sequence[str],
    wanted: str | None = None,
    *,
    small: int = 0,
    everything: bool = False,
) -> Quality:
    """The metric for a model folder and the prompts that it will be judged on.

    `small`: see `Quality`.  `everything`: also what the metrics pack can compute beside it.

    Raises:
        WorkloadError: the wanted metric is unknown or cannot be computed here.
    """
    reader = _reader(model) if any(_asks(prompt) for prompt in prompts) else None
    here = [name for name in ("clip", "cmmd", "dino") if not _why_not(name, reader, prompts)]

    def made(name: Name) -> Quality:
        more = tuple(one for one in here if everything or one == name)
        return Quality(name, reader, more, small)

    if wanted is None:
        defaults: tuple[Name, ...] = ("adherence", "lpips", "clip")
        return made(next((name for name in defaults if not _why_not(name, reader, prompts)), "haarpsi"))
    for name in NOTES:
        if name == wanted:
            reason = _why_not(name, reader, prompts)
            if reason:
                raise WorkloadError(reason)
            return made(name)
    raise WorkloadError(f"There is no metric {wanted!r}; choose {', '.join(NOTES)}.")


def beside(quality: Quality, name: Name) -> Quality:
    """The same, with another metric.

    Raises:
        WorkloadError: it cannot be computed here.
    """
    network = NETWORKS.get(name)
    if network is not None and place.find(network) is None:
        raise WorkloadError(place.missing(network))
    more = (name,) if name in ("clip", "cmmd", "dino") else ()
    return Quality(name, quality.reader, more, quality.small)


def _why_not(name: str, reader: Reader | None, prompts: Sequence[str]) -> str:
    """Why a metric cannot be computed, as a sentence; empty where it can."""
    if name == "adherence" and reader is None:
        return "Adherence needs prompts that name scenes and a model with a reader; choose haarpsi."
    if name == "clip" and not all(encoded.said(prompts)):
        return (
            "The CLIP score needs prompts that say something; these only name pictures. Choose lpips, dino"
            " or haarpsi."
        )
    network = NETWORKS.get(name)
    return place.missing(network) if network is not None and place.find(network) is None else ""


def _asks(prompt: str) -> bool:
    from engines.scenes.grammar import parse

    return len(parse(prompt)) > 0


def _reader(model: Path) -> Reader | None:
    path = model / READER
    if not path.is_file():
        return None
    from engines.scenes.reader import load_reader

    return load_reader(path)
