"""Certification: one claim about one candidate, on prompts that nothing has seen.

Search decides by sixteen prompts and says how wide its interval is.  A claim is
made only here: on fresh sealed prompts, with one-sided 95 % paired bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agent.candidate import Candidate, Interval, Recipe
from agent.errors import JudgeError
from agent.evaluate import given
from agent.evaluate.bench import Bench
from agent.evaluate.claims import Certificate, Claim, read_claim
from agent.evaluate.prompts import Asked, Prompts
from agent.evaluate.static import examine
from agent.sandbox import CandidateFailure, Isolation
from engines.measure import bootstrap, quality
from engines.measure.bootstrap import Interval as Bounds
from engines.measure.timing import Timing

Pixels = NDArray[np.uint8]
OnProgress = Callable[[int, int, str], None]
_BATCH = 4


class Certifier:
    """Certifies for one bench; the sealed prompts are drawn by chance when it is first asked.

    `ready(recipe, before)` has a recipe's engines built and calls `before` if that takes time.
    """

    def __init__(
        self,
        bench: Bench,
        prompts: Prompts,
        metric: Callable[[], quality.Quality],
        ready: Callable[[Recipe, Callable[[], None]], None],
    ) -> None:
        self._bench, self._prompts, self._metric, self._ready = bench, prompts, metric, ready
        self._sealed: tuple[Asked, Pixels] | None = None

    def certify(self, candidate: Candidate, claim: str, prompts: int, on_progress: OnProgress) -> Certificate:
        """Check one claim on `prompts` fresh ones, or as many as the claim needs.

        Raises:
            JudgeError: a claim that cannot be certified, or the evaluation was stopped.
        """
        wanted = read_claim(claim)
        if wanted.metric != "psnr":
            quality.beside(self._metric(), wanted.metric)  # before hundreds of pictures are drawn for it
        if wanted.metric == "adherence" and self._metric().reader is None:
            raise JudgeError(
                "Adherence cannot be certified: this model and these prompts have no attribute reader."
            )
        count = wanted.prompts(prompts)
        examined = examine(candidate.script)
        own = candidate.proposal.origin == "given"
        recipe = examined.recipe if own else candidate.proposal.recipe
        if examined.problem:
            return _unproven(claim, examined.problem)
        walls = _Walls()
        try:
            if recipe is not None:
                self._ready(recipe, lambda: on_progress(0, count, "engines"))
            asked, expected = self._reference(count, on_progress)
            pictures, timing = self._draw(candidate, asked, on_progress, walls)
        except CandidateFailure as failure:
            if self._bench.aborted:
                raise JudgeError("The evaluation was stopped.") from failure
            return _unproven(claim, str(given.explained(candidate, failure)), walls.level)
        if pictures.shape != expected.shape:
            return _unproven(claim, "The pictures have another size than the baseline's.", walls.level)
        bounds = _interval(self._bounds(wanted, pictures, expected, asked.prompts))
        note = self._prompts.sealed_are(count)
        return Certificate(
            claim, wanted.holds(bounds), count, bounds, _interval(timing.speedup), note, walls.level
        )

    def _draw(
        self, candidate: Candidate, asked: Asked, on_progress: OnProgress, walls: _Walls
    ) -> tuple[Pixels, Timing]:
        count = len(asked)
        with self._bench.process(candidate.script, trusted=given.without_walls(candidate)) as process:
            walls.level = process.isolation
            self._bench.load(process)
            drawn = list[Pixels]()
            for start in range(0, count, _BATCH):
                part = asked.part(start, min(start + _BATCH, count))
                drawn.append(given.check(candidate, process.generate(part.prompts, part.seeds)).images)
                on_progress(start + len(part), count, "pictures")
            process.generate(asked.prompts[:1], asked.seeds[:1])
            on_progress(count, count, "timing")
            timing = self._bench.alternate(
                process, self._prompts, lambda *_: None, least=6, most=12, seconds=20.0
            )
        return np.concatenate(drawn), timing

    def _bounds(self, wanted: Claim, pictures: Pixels, expected: Pixels, prompts: tuple[str, ...]) -> Bounds:
        """One-sided bounds of the claim's metric."""
        run = self._metric()
        if wanted.metric == "psnr":
            return bootstrap.mean(run.values(pictures, expected, prompts)["psnr"], side="one")
        metric = quality.beside(run, wanted.metric)
        values = metric.values(pictures, expected, prompts)
        if wanted.metric not in values:
            raise JudgeError(f"{wanted.metric} cannot be computed here; certify another metric.")
        own = None if metric.reader is None else metric.reader.adherence(expected, prompts)
        return bootstrap.mean(metric.losses(values, own), side="one")

    def _reference(self, count: int, on_progress: OnProgress) -> tuple[Asked, Pixels]:
        """At least `count` sealed prompts with the baseline's pictures; drawn once, then only added to."""
        asked, pictures = self._sealed or (Asked((), ()), np.zeros((0, 0, 0, 3), np.uint8))
        missing = count - len(asked)
        if missing > 0:
            more = self._prompts.fresh(missing, sealed=True)
            drawn = [pictures] if len(pictures) else []
            for start in range(0, missing, _BATCH):
                on_progress(len(asked) + start, count, "reference")
                drawn.append(self._bench.draw_baseline(more.part(start, start + _BATCH)).images)
            asked = Asked(asked.prompts + more.prompts, asked.seeds + more.seeds)
            pictures = np.concatenate(drawn)
            self._sealed = (asked, pictures)
        return asked.part(0, count), pictures[:count]


def _unproven(claim: str, note: str, isolation: Isolation | Literal[""] = "") -> Certificate:
    """Nothing was measured: any loss is possible.  Finite, because it goes into a journal."""
    return Certificate(claim, False, 0, Interval(0.0, -1.0, 1.0), note=note, isolation=isolation)


@dataclass
class _Walls:
    """The level that the script's process reached, once there was one."""

    level: Isolation | Literal[""] = ""


def _interval(found: Bounds) -> Interval:
    return Interval(found.value, found.low, found.high)
