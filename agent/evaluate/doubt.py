"""Looks at a candidate while its pictures come: is it worth going on (`agent.evaluate.hopeless`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.candidate import Interval, Stage
from agent.evaluate import hopeless
from agent.evaluate.bench import Bench
from agent.evaluate.prompts import Prompts
from agent.evaluate.reference import Reference
from agent.sandbox import Answer, Counted, Process
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
        self.look(smoke.images, "smoke", smoke)
        usual = float(np.median(self.reference.seconds))
        if self.limit is None or not hopeless.slow_at_first(smoke.seconds / len(smoke.images), usual):
            return
        asked = self.reference.asked.part(0, self.bench.workload.batch)
        again = process.generate(asked.prompts, asked.seeds)  # the first call may have set something up
        if hopeless.slow_at_first(again.seconds / len(asked), usual):
            turns = hopeless.TURNS
            timing = self.bench.alternate(process, self.prompts, lambda *_: None, least=turns, most=turns)
            found = self.quality.loss(self._losses(self._values(smoke.images), len(smoke.images)))
            hopeless.too_slow(timing, Interval(found.value, found.low, found.high))

    def look(self, pictures: Pixels, stage: Stage, told: Answer | None = None) -> None:
        """After more pictures, all so far; `told`: the answer that they came in.

        Raises:
            Hopeless: they are surely worth nothing.
        """
        if self.limit is not None:
            looks = max(1, len(self.reference.asked) // BATCH)
            values = self._values(pictures)

            def seen() -> str:
                own, psnr = self.reference.images[: len(pictures)], values.get("psnr", np.empty(0))
                return drift_text(pictures, own, psnr, () if told is None else told.components)

            hopeless.worthless(self._losses(values, len(pictures)), looks, stage, self.limit, seen)

    def _values(self, pictures: Pixels) -> dict[str, NDArray[np.float64]]:
        count, wanted = len(pictures), self.reference
        return self.quality.values(pictures, wanted.images[:count], wanted.asked.prompts[:count])

    def _losses(self, values: dict[str, NDArray[np.float64]], count: int) -> NDArray[np.float64]:
        own = self.reference.adherence
        return self.quality.losses(values, None if own is None else own[:count])


def drift_text(
    ours: Pixels, theirs: Pixels, psnr: NDArray[np.float64], counted: Sequence[Counted] = ()
) -> str:
    """How far pictures (N, H, W, 3), or clips, are from the baseline's, for who looks for a wrong number.

    `psnr`: dB by picture; `counted`: what the script's pipeline says of its calls for all of them.
    """

    def levels(pictures: Pixels) -> str:
        return f"mean {pictures.mean():.1f}, spread {pictures.std():.1f}"

    lines = [
        f"PSNR to the baseline's pictures in dB: {', '.join(f'{value:.1f}' for value in psnr)}.",
        f"Levels of its pictures, 0 to 255: {levels(ours)}; of the baseline's: {levels(theirs)}.",
    ]
    if counted:
        calls = "; ".join(
            f"{one.component} {one.shape}, {one.engine}: {one.calls} calls, {one.rows} rows"
            for one in counted
        )
        lines.append(f"What its pipeline counted for these pictures: {calls}.")
    return "\n".join(lines)
