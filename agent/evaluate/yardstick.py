"""The unchanged model: the reference pictures, and the verdict that everything is compared with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from agent.candidate import Interval, Verdict
from agent.errors import AgentError, BaselineError, JudgeError
from agent.evaluate import reference as references
from agent.evaluate.bench import Bench
from agent.evaluate.certification import OnProgress
from agent.evaluate.prompts import Asked
from agent.evaluate.recipes import Recipes
from agent.sandbox import CandidateFailure, Limits, Process
from engines.backends.serves import TORCH
from engines.errors import EngineError
from engines.measure import bootstrap, enlargement, quality
from engines.measure.bootstrap import Interval as Bounds
from engines.workload import Workload

BASELINE: Final = "c000"
SMOKE: Final = 4
"""Pictures of the first look at a candidate."""
GIVEN: Final = "given"
"""Under this name the small pictures are kept that a model makes larger."""
_FORMAT: Final = 2


class Yardstick:
    """Draws the reference with a bench's baseline.

    `model_hash` is the digest of its weights and settings, `folder` the run's, `warmed` waits until the
    metrics are loaded, and `tell` hears how far it is: nothing else that takes long is done unasked.
    """

    def __init__(
        self,
        bench: Bench,
        recipes: Recipes,
        asked: Asked,
        model_hash: str,
        *,
        device: str,
        workload: Workload,
        folder: Path,
        limits: Limits,
        quality: Callable[[], quality.Quality],
        warmed: Callable[[], object],
        tell: OnProgress,
    ) -> None:
        self.reference: references.Reference | None = None
        """The pictures of the gate's prompts; None before `measured`."""
        self._bench, self._recipes, self._asked, self._hash = bench, recipes, asked, model_hash
        self._device, self._workload, self._folder, self._limits = device, workload, folder, limits
        self._quality, self._warmed, self._tell = quality, warmed, tell

    def measured(self) -> Verdict:
        """Run it: the reference pictures and the verdict that everything is compared with.

        The pictures are kept in the run's folder, so a resumed run need not draw
        them again.  A model that does not run gives a failed verdict.

        Raises:
            JudgeError: the evaluation was stopped.
        """
        started = time.monotonic()
        try:
            found = self._find_reference()
            if self._device not in TORCH:
                self._recipes.make_ready(
                    (), lambda: self._tell(0, 0, "building the unchanged model's engines")
                )
            self._tell(0, 0, "loading the unchanged model")
            process = self._bench.baseline()
            self._warmed()
            first = self._bench.draw_baseline(self._asked.part(0, 1))  # it pays for lazy set-up
            if found is None:
                found = self._draw_reference()
            size = self._workload.batch
            throughput = {size: 1 / float(np.median(found.seconds)), **found.throughput}
        except (BaselineError, CandidateFailure, OSError) as error:
            if self._bench.aborted:
                raise JudgeError("The evaluation was stopped.") from error
            cause = error if isinstance(error, CandidateFailure) else error.__cause__
            evidence = cause.evidence if isinstance(cause, CandidateFailure) else ""
            return Verdict(
                "failed", "gate", one_sentence(error), evidence, seconds=time.monotonic() - started
            )
        self.reference = found
        self._bench.encoding = found.stages.get("encode", 0.0) / size
        self._bench.limits = replace(self._limits, generate_seconds=self._patience(found))
        latency = bootstrap.median(found.seconds)
        shown = {} if found.adherence is None else {"adherence": found.adherence}
        if self._quality().small:
            shown["consistency"] = self._quality().consistency(found.images, self._asked.prompts)
        metrics = {name: interval(bootstrap.mean(values)) for name, values in shown.items()}
        frames = references.count_frames(found.images)
        end = "/000.png" if frames else ".png"
        names = [f"images/{BASELINE}/{index:02}{end}" for index in range(len(found.images))]
        return Verdict(
            "passed",
            "gate",
            latency=interval(latency),
            latency_p90=float(np.quantile(found.seconds, 0.9)),
            speedup=Interval(1.0, 1.0, 1.0),
            stages={name: value / size for name, value in found.stages.items()},
            throughput=throughput,
            memory=process.peak,
            card_memory=on_card(process, self._device),
            isolation=process.isolation,
            spent={"gate": time.monotonic() - started},
            loss=Interval(0.0, 0.0, 0.0),
            metrics=metrics,
            fallbacks=first.fallbacks,
            samples=references.samples(self._asked, names, shown, frames=frames, given=self._keep_given()),
            seconds=time.monotonic() - started,
        )

    def _keep_given(self) -> list[str]:
        """The small pictures that the gate's are made from, kept in the run; nothing for other models."""
        side = self._quality().small
        if not side:
            return []
        small = enlargement.given(self._asked.prompts, (side, side))
        return references.save_pictures(self._folder, GIVEN, small)

    def given_names(self) -> list[str]:
        """Where the small pictures lie that the gate's are made from; none for other models."""
        count = len(self._asked) if self._quality().small else 0
        return [f"images/{GIVEN}/{index:02}.png" for index in range(count)]

    def _patience(self, found: references.Reference) -> float:
        """Seconds that a request may take: five times the baseline's for a batch of four."""
        return max(self._limits.generate_seconds, 5 * SMOKE * float(np.median(found.seconds)))

    def _key(self) -> str:
        from engines.paths import digest

        return digest(
            _FORMAT,
            self._hash,
            self._workload.model_dump(mode="json"),
            self._asked.prompts,
            self._asked.seeds,
        )

    def _find_reference(self) -> references.Reference | None:
        found = references.find(self._folder, BASELINE, self._key(), self._asked)
        return None if found is None else self._with_adherence(found)

    def _draw_reference(self) -> references.Reference:
        def tell(done: int) -> None:
            self._tell(done, len(self._asked), "drawing the baseline's pictures,")

        found = references.draw(self._bench.draw_baseline, self._asked, self._workload.batch, tell)
        references.keep(self._folder, BASELINE, self._key(), found)
        return self._with_adherence(found)

    def _with_adherence(self, found: references.Reference) -> references.Reference:
        reader = self._quality().reader
        shares = None if reader is None else reader.adherence(found.images, found.asked.prompts)
        return replace(found, adherence=shares)


def interval(found: Bounds) -> Interval:
    """A verdict's interval of a measured one."""
    return Interval(found.value, found.low, found.high)


def on_card(process: Process, device: str) -> float | None:
    """MiB that a process held on the card at most; None where it does not run on one."""
    return process.card_peak or None if device == "cuda" else None


def one_sentence(error: Exception) -> str:
    """Why the unchanged model did not run."""
    if isinstance(error, AgentError | EngineError):
        return str(error)
    if isinstance(error, CandidateFailure):
        return f"The unchanged model's engines cannot be built: {error}"
    return f"The run's folder cannot be written ({error}); free some space or choose another folder."
