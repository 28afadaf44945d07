"""Looks at a candidate while its pictures come: is it worth going on (`agent.evaluate.hopeless`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.candidate import Interval, Stage
from agent.evaluate import hopeless
from agent.evaluate.bench import Bench
from agent.evaluate.prompts import Prompts
from agent.evaluate.reference import Reference
from agent.sandbox import Answer, Process
from engines.measure.quality import Quality

Pixels = NDArray[np.uint8]
BATCH: Final = 4
"""Pictures of the gate that are drawn at a time, and looked at."""


@dataclass(frozen=True)
class Doubt:
    """Of one candidate; `limit` is the loss at which pictures are worth nothing; `None`: no giving up."""

    bench: Bench
    prompts: Prompts
    reference: Reference
    quality: Quality
    limit: float | None

    def first(self, process: Process, smoke: Answer) -> None:
        """After the first pictures.

        Raises:
            Hopeless: they are surely worth nothing, or it surely takes far longer than the baseline.
            CandidateFailure, BaselineError: as drawing does.
        """
        self.look(smoke.images, "smoke")
        usual = float(np.median(self.reference.seconds))
        if self.limit is None or not hopeless.slow_at_first(smoke.seconds / len(smoke.images), usual):
            return
        asked = self.reference.asked.part(0, self.bench.workload.batch)
        again = process.generate(asked.prompts, asked.seeds)  # the first call may have set something up
        if hopeless.slow_at_first(again.seconds / len(asked), usual):
            turns = hopeless.TURNS
            timing = self.bench.alternate(process, self.prompts, lambda *_: None, least=turns, most=turns)
            found = self.quality.loss(self._losses(smoke.images))
            hopeless.too_slow(timing, Interval(found.value, found.low, found.high))

    def look(self, pictures: Pixels, stage: Stage) -> None:
        """After more pictures, all so far.

        Raises:
            Hopeless: they are surely worth nothing.
        """
        if self.limit is not None:
            looks = max(1, len(self.reference.asked) // BATCH)
            hopeless.worthless(self._losses(pictures), looks, stage, self.limit)

    def _losses(self, pictures: Pixels) -> NDArray[np.float64]:
        count, wanted = len(pictures), self.reference
        values = self.quality.values(pictures, wanted.images[:count], wanted.asked.prompts[:count])
        own = None if wanted.adherence is None else wanted.adherence[:count]
        return self.quality.losses(values, own)
