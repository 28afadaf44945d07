"""The live baseline and the processes beside it: who runs, who waits, who is to blame."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.candidate import Recipe
from agent.errors import BaselineError, JudgeError
from agent.evaluate import allowances, declared
from agent.evaluate.prompts import Asked, Prompts
from agent.evaluate.trace import Trace, watch
from agent.sandbox import Answer, CandidateFailure, Limits, Nursery, Process
from engines.measure.timing import Timing, alternate
from engines.workload import Workload

Pixels = NDArray[np.uint8]
_BASELINE_SECONDS: Final = 3600.0
"""The baseline may be as slow as it is."""

_BUILDER: Final = '''"""Builds and keeps the engines of a recipe, outside the candidate's sandbox."""

from agent.candidate import Step
from engines.measure.floor import work
from engines.pipeline import plan, prepare
from engines.techniques.base import from_step

RECIPE = {recipe!r}


def load(model, device, workload):
    wanted = plan(model, device, workload, [from_step(Step(name, values)) for name, values in RECIPE])
    prepare(wanted, lambda done, total, doing: print(f"{{done}}/{{total}} {{doing}}", flush=True))
    work(wanted)


def generate(pipeline, prompts, seeds):
    raise NotImplementedError
'''


@dataclass(frozen=True)
class CarriedOut:
    """A recipe carried out by this program: pictures for prompts, and what torch does for them."""

    draw: Callable[[Asked], Answer]
    watch: Callable[[Asked], Trace]


class Bench:
    """Processes for one model, device and workload; close it."""

    def __init__(
        self,
        model: str,
        device: str,
        workload: Workload,
        baseline: str,
        limits: Limits,
        readable: list[Path],
        building: Limits | None = None,
    ) -> None:
        self.model, self.device, self.workload = model, device, workload
        self._script = baseline
        self.limits = limits
        self._building = building or allowances.builders()
        self.nursery = Nursery(limits, readable, card=device == "cuda")
        self._baseline: Process | None = None
        self._live: list[Process] = []
        self._kept: dict[str, Pixels] = {}
        self._watched: dict[int, Trace] = {}
        self.encoding = 0.0
        """Seconds that the baseline spends on encoding one prompt: what a prompt cache can save."""
        self._lock = threading.Lock()
        self.aborted = False

    # -- processes -------------------------------------------------------------------------------

    @contextmanager
    def process(
        self, script: str, *, trusted: bool = False, limits: Limits | None = None
    ) -> Iterator[Process]:
        """A fresh process with a script in its folder, not loaded yet; it ends with the block."""
        process = self._start(trusted=trusted, limits=limits)
        try:
            (process.folder / "candidate.py").write_text(script, encoding="utf-8")
            yield process
        finally:
            self._end(process)

    def load(self, process: Process) -> float:
        """Load the process's script; seconds."""
        return process.load(process.folder / "candidate.py", self.model, self.device, self.workload)

    def _start(self, *, trusted: bool = False, limits: Limits | None = None) -> Process:
        if self.aborted:
            raise JudgeError("The evaluation was stopped.")
        process = self.nursery.start(trusted=trusted, limits=limits or self.limits)
        with self._lock:
            self._live.append(process)
        return process

    def _end(self, process: Process) -> None:
        with self._lock:
            if process in self._live:
                self._live.remove(process)
        process.close()
        self.nursery.sweep()

    def build(self, recipe: tuple[tuple[str, dict[str, object]], ...]) -> None:
        """Build a recipe's engines in a process of their own.

        Raises:
            CandidateFailure: they cannot be built.
        """
        with self.process(_BUILDER.format(recipe=recipe), trusted=True, limits=self._building) as builder:
            self.load(builder)

    @contextmanager
    def carried_out(self, recipe: Recipe) -> Iterator[CarriedOut]:
        """A recipe as the program's own code carries it out; for none it is the baseline.

        Raises:
            CandidateFailure: the recipe cannot be carried out.
        """
        if not recipe:
            yield CarriedOut(self.draw_baseline, self.watch_baseline)
            return
        with self.process(declared.CANONICAL.format(recipe=declared.same_recipe(recipe))) as process:
            self.load(process)
            yield CarriedOut(
                lambda asked: process.generate(asked.prompts, asked.seeds),
                lambda asked: watch(process, asked).trace,
            )

    # -- the baseline ----------------------------------------------------------------------------

    def baseline(self) -> Process:
        """The live baseline, started again if it has ended.

        Raises:
            BaselineError: the unchanged model does not run.
        """
        if self._baseline is not None and self._baseline.alive:
            return self._baseline
        if self._baseline is not None:
            self._end(self._baseline)
        process = self._start(limits=replace(self.limits, generate_seconds=_BASELINE_SECONDS))
        process.answers_for_growth = False  # candidates come and go while it stays
        (process.folder / "candidate.py").write_text(self._script, encoding="utf-8")
        try:
            self.load(process)
        except CandidateFailure as failure:
            self._end(process)
            raise self._blame(failure) from failure
        self._baseline = process
        return process

    def draw_baseline(self, asked: Asked) -> Answer:
        """The baseline's pictures and their seconds.

        Raises:
            BaselineError: the unchanged model does not run.
        """
        try:
            return self.baseline().generate(asked.prompts, asked.seeds)
        except CandidateFailure as failure:
            raise self._blame(failure) from failure

    def watch_baseline(self, asked: Asked) -> Trace:
        """What torch does in the baseline for a number of pictures; counted for the first who asks.

        Raises:
            BaselineError: the unchanged model does not run.
        """
        size = len(asked)
        if size not in self._watched:
            try:
                self._watched[size] = watch(self.baseline(), asked).trace
            except CandidateFailure as failure:
                raise self._blame(failure) from failure
        return self._watched[size]

    def once(self, name: str, asked: Asked) -> Pixels:
        """The baseline's pictures of something that every candidate is asked; drawn for the first of them."""
        if name not in self._kept:
            self._kept[name] = self.draw_baseline(asked).images
        return self._kept[name]

    def _blame(self, failure: CandidateFailure) -> Exception:
        if self.aborted:
            return JudgeError("The evaluation was stopped.")
        return BaselineError(f"The unchanged model cannot be run: {failure}")

    def alternate(
        self,
        candidate: Process,
        prompts: Prompts,
        on_pair: Callable[[Asked, Pixels, Pixels], None],
        on_call: Callable[[str, Asked, Answer], None] = lambda _side, _asked, _answer: None,
        **stop: float,
    ) -> Timing:
        """Take turns, every call on a fresh prompt; who is not timed stands still.

        One call of each of the candidate's turns, chosen by chance, gets the
        prompt of the baseline's turn before it; `on_pair` sees both sides' pictures,
        `on_call` every call of both (`baseline`, `candidate`).
        """
        baseline = self.baseline()
        size = self.workload.batch
        shared: dict[int, tuple[Asked, Pixels]] = {}
        chance, usual, paired = random.SystemRandom(), 1, 0

        def ours(turn: int, _: int) -> float:
            wanted = prompts.fresh(size)
            with _standing_still(candidate):
                answer = self.draw_baseline(wanted)
            shared[turn] = (wanted, answer.images)
            on_call("baseline", wanted, answer)
            return answer.seconds / size

        def theirs(turn: int, call: int) -> float:
            nonlocal usual, paired
            if call == 0:
                paired = chance.randrange(usual)
            usual = call + 1
            pair = shared[turn] if call == paired else None
            wanted = pair[0] if pair else prompts.fresh(size)
            with _standing_still(baseline):
                answer = candidate.generate(wanted.prompts, wanted.seeds)
            on_call("candidate", wanted, answer)
            if pair:
                on_pair(wanted, answer.images, pair[1])
            return answer.seconds / size

        return alternate(ours, theirs, **stop)  # type: ignore[arg-type]

    # -- its end ---------------------------------------------------------------------------------

    def abort(self) -> None:
        """End every process at once, from any thread; what is being asked fails."""
        self.aborted = True
        with self._lock:
            for process in self._live:
                process.kill("The evaluation was stopped.")

    def close(self) -> None:
        """End every process."""
        with suppress(OSError):
            self.nursery.close()


@contextmanager
def _standing_still(process: Process) -> Iterator[None]:
    process.pause()
    try:
        yield
    finally:
        process.resume()
