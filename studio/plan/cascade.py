"""What training a discriminator found: the value that the worker writes and the window shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from studio.plan.deferral import Interval, Operation, Pairs
from studio.plan.discrimination import Bin
from studio.plan.guarantee import Guarantee
from studio.plan.learning import Epoch
from studio.plan.reuse import Reuse
from studio.plan.worth import Worth


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt, answered by both models with the same seed."""

    prompt: str
    seed: int
    score: float
    """Probability that the light picture is good enough, from a network that never saw this prompt."""
    defer: bool
    """The label: the heavy picture is better by more than the margin."""
    light_quality: float
    heavy_quality: float
    light_image: str
    """PNG, relative to the run folder."""
    heavy_image: str
    light_seconds: float
    heavy_seconds: float
    hard: bool | None = None
    """Several objects in the caption, where the prompts come from the scene grammar."""


Likeness = Literal["lpips", "haarpsi"]
"""To the heavy picture: 1 - LPIPS, or HaarPSI."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """A way to score and how well it tells the two classes apart."""

    name: str
    auc: Interval | None
    """`None` where every prompt has the same label."""
    worth: tuple[Worth, ...] = ()
    """Quality at a few deferred shares; none in files of earlier versions."""
    roc: tuple[tuple[float, float], ...] = ()
    """Corners of the held-out ROC curve: false and true positive rate; positive: light is good enough."""


@dataclass(frozen=True, slots=True)
class Cascade:
    """Light, heavy, and what decides between them."""

    light: str
    heavy: str
    """Candidates; one of another run than the pair's own is `OTHER_RUN/CANDIDATE`."""
    light_title: str
    heavy_title: str
    metric: str
    """What quality is: `adherence`, or `likeness` (to the heavy picture: difference, not worth)."""
    margin: float
    samples: tuple[Sample, ...]
    curve: tuple[Operation, ...]
    scorers: tuple[Scorer, ...]
    """The discriminator first, then the baselines that it must beat."""
    reliability: tuple[Bin, ...]
    brier: float
    discriminator_seconds: float
    guarded: float | None
    """The lowest threshold at which at most `guarded_rate` of the kept pictures should have been deferred."""
    guarded_rate: float
    seed: int
    trained_seconds: float
    folder: str
    """Relative to the run folder."""
    notes: tuple[str, ...] = ()
    target: str = "better"
    """What the scores were trained on: `better` (heavy beats light by more than the margin), `votes` (the
    same, and the user's own blind votes where there are any) or `real` (real against generated)."""
    votes: int = 0
    """How many labels are the user's own votes."""
    reuse: Reuse | None = None
    """What can be done with a deferred prompt, once measured."""
    guarantees: tuple[Guarantee, ...] = ()
    """For several rates; none in files of earlier versions."""
    training: tuple[Epoch, ...] = ()
    """In the order in which the epochs came; none in files of earlier versions."""
    models: tuple[str, ...] = ()
    """Digests of light's and heavy's model; none in files of earlier versions."""
    likeness: Likeness | None = None
    """By what, where quality is likeness; not said in files of earlier versions."""

    @property
    def pairs(self) -> Pairs:
        """For `studio.plan.deferral`, in the order of `samples`."""

        def column(name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
            return np.array([getattr(sample, name) for sample in self.samples], dtype=np.float64)

        return Pairs(
            column("score"),
            column("light_quality"),
            column("heavy_quality"),
            column("light_seconds"),
            column("heavy_seconds"),
            self.discriminator_seconds,
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Cascade:
        """The inverse of `to_json`, also of the `discriminator` command's whole result.

        Raises:
            KeyError, TypeError: anything else.
        """
        data = data.get("cascade", data)
        scorers = [
            Scorer(
                one["name"],
                None if one["auc"] is None else Interval(**one["auc"]),
                tuple(
                    Worth(at["share"], Interval(**at["quality"]), Interval(**at["gain"]))
                    for at in one.get("worth", ())
                ),
                tuple((false, true) for false, true in one.get("roc", ())),
            )
            for one in data["scorers"]
        ]
        operations = [
            Operation(**{**one, "seconds": Interval(**one["seconds"]), "quality": Interval(**one["quality"])})
            for one in data["curve"]
        ]
        parts = {
            "samples": tuple(Sample(**one) for one in data["samples"]),
            "curve": tuple(operations),
            "scorers": tuple(scorers),
            "reliability": tuple(Bin(**one) for one in data["reliability"]),
            "notes": tuple(data["notes"]),
            "reuse": Reuse.from_json(data["reuse"]) if data.get("reuse") else None,
            "guarantees": tuple(Guarantee(**one) for one in data.get("guarantees", ())),
            "training": tuple(Epoch(**one) for one in data.get("training", ())),
            "models": tuple(data.get("models", ())),
        }
        return cls(**{**data, **parts})
