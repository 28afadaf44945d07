"""Candidates judged on several machines or devices through Ray; everything else of the run stays here.

    run's machine    baseline, plans, scripts, journal, certificates
    worker           a judge of its own with a baseline of its own: one machine, or one GPU of it

What makes numbers of two machines comparable: a ratio is measured on one
machine, in turns with the baseline there, and pictures are compared with that
machine's own reference.  A ratio holds for a kind of machine, so a worker must
be of the run's kind (processor, cores, accelerator, versions), have the same
model and draw the same baseline; one that differs is left out, with the reason.
Seconds are the run's baseline over the ratio: a worker that is a little slower
or busier than the next moves none of its candidates on the plot.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.candidate import Candidate, Interval, Stage, Verdict
from agent.errors import BaselineError, ClusterError, JudgeError
from agent.evaluate.judge import Judge
from agent.evaluate.ray_pool import Place, RayPool
from agent.evaluate.worker import COMPARED, THREADS, About, Wanted, kind_of_machine
from agent.evolution.front import SLOWER, Reference
from engines.measure import images

TRIES: Final = 3
"""Workers that may be lost with one candidate before it is the candidate's fault."""
ALIKE: Final = 40.0
"""dB that two machines' pictures of the unchanged model must agree to."""
PACE: Final = 1.25
"""Baselines that differ by more than this factor are told of: something else may run there."""

Notice = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ours:
    """The run's own machine, which workers are compared with."""

    hash: str
    kind: Mapping[str, str]
    seconds: float
    """Of the unchanged model, per image: what the run's axis is made of."""
    pictures: NDArray[np.uint8]


def unfit(ours: Ours, theirs: About) -> str:
    """Why a worker's numbers cannot stand beside the run's; empty where they can."""
    if theirs.hash != ours.hash:
        return "its copy of the model is another one"
    found = [
        f"its {name} is {theirs.kind.get(name, 'missing')} and not {ours.kind.get(name, 'missing')}"
        for name in sorted({*ours.kind, *theirs.kind})
        if ours.kind.get(name) != theirs.kind.get(name)
    ]
    if found:
        return "; ".join(found)
    count = min(COMPARED, len(ours.pictures))
    likeness = images.psnr(theirs.pictures[:count], ours.pictures[:count]).min()
    return "" if likeness >= ALIKE else f"its unchanged model draws other pictures ({likeness:.0f} dB)"


def here(verdict: Verdict, seconds: float, machine: str) -> Verdict:
    """A worker's verdict on the run's axis: the run's baseline, `seconds` per image, over the ratio."""
    if verdict.speedup is None or verdict.latency is None:
        return replace(verdict, machine=machine)
    times = verdict.speedup
    latency = Interval(seconds / times.value, seconds / times.high, seconds / times.low)
    scale = latency.value / verdict.latency.value
    return replace(
        verdict,
        latency=latency,
        latency_p90=None if verdict.latency_p90 is None else verdict.latency_p90 * scale,
        stages={name: value * scale for name, value in verdict.stages.items()},
        throughput={size: rate / scale for size, rate in verdict.throughput.items()},
        floor=None if verdict.floor is None else verdict.floor * scale,
        machine=machine,
    )


class ClusterJudge:
    """Judges candidates on a cluster's workers, from several threads; close it.

    A worker that is lost costs its candidate only: another one, or the same
    one started again, takes it.
    """

    def __init__(
        self,
        pool: RayPool,
        wanted: Wanted,
        folder: Path,
        baseline: Verdict,
        ours: Ours,
        notice: Notice,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Starts the workers and waits until each is ready or left out.

        `folder` and `baseline` are the run's; `check` is called while it takes.

        Raises:
            ClusterError: none can be used.
        """
        self._pool, self._wanted, self._folder, self._ours = pool, wanted, folder, ours
        self._baseline = baseline
        self._changed = threading.Condition()
        self._aborted = False
        self._free: list[Place] = []
        refused: list[str] = []
        for place, said in pool.open_all(wanted, check):
            why = said if isinstance(said, str) else unfit(ours, said)
            if why or isinstance(said, str):
                refused.append(f"{place.name} is left out: {why}.")
                pool.end(place)
                continue
            self._free.append(place)
            if not 1 / PACE < said.seconds / ours.seconds < PACE:
                notice(
                    f"{place.name} takes {said.seconds:.3g} s for an unchanged picture where this machine "
                    f"takes {ours.seconds:.3g} s; ratios hold, but see whether something else runs there."
                )
        for sentence in refused:
            notice(sentence)
        if not self._free:
            raise ClusterError(
                "No machine of the cluster can judge for this run. "
                + (" ".join(refused) or "It has none with room; see `ray status`.")
            )
        self.slots = self._alive = len(self._free)
        """Candidates that can be judged at a time."""

    def baseline(self) -> Verdict:
        """The run's own machine's."""
        return self._baseline

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(place.name for place in self._free)

    def judge(self, candidate: Candidate, on_stage: Callable[[Stage, str], None]) -> Verdict:
        """Have a worker judge a candidate.

        Raises:
            JudgeError: the evaluation was stopped, or no worker is left.
        """
        for _ in range(TRIES):
            place = self._take()
            on_stage("static", f"sent to {place.name}")
            answer = self._pool.judge(place, candidate)
            if self._aborted:
                raise JudgeError("The evaluation was stopped.")
            if not isinstance(answer, str):
                self._give(place)
                verdict, pictures = answer
                self._keep(pictures)
                return here(verdict, self._ours.seconds, place.name)
            on_stage("static", f"{place.name} was lost ({answer}), so it is tried again")
            threading.Thread(target=self._restart, args=(place,), name=place.name, daemon=True).start()
        reason = f"{TRIES} workers were lost while they judged it; look at what it does to a machine."
        return Verdict("failed", "gate", reason)

    def _keep(self, pictures: Mapping[str, bytes]) -> None:
        for name, content in pictures.items():
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    # -- who is free -----------------------------------------------------------------------------

    def _take(self) -> Place:
        with self._changed:
            while not self._free:
                if self._aborted:
                    raise JudgeError("The evaluation was stopped.")
                if not self._alive:
                    raise JudgeError("No worker is left; resume the run once the cluster is back.")
                self._changed.wait()
            return self._free.pop(0)

    def _give(self, place: Place) -> None:
        with self._changed:
            self._free.append(place)
            self._changed.notify_all()

    def _restart(self, place: Place) -> None:
        """Start a lost worker again, where it was or on another machine; without success it is one fewer."""
        self._pool.end(place)
        fresh = place
        said: About | str = "the run has ended"
        if not self._aborted:
            fresh, said = self._pool.open(place, self._wanted)
        if not isinstance(said, str) and not unfit(self._ours, said):
            self._give(fresh)
            return
        self._pool.end(fresh)
        with self._changed:
            self._alive -= 1
            self._changed.notify_all()

    # -- its end ---------------------------------------------------------------------------------

    def abort(self) -> None:
        """Give up what is being judged, from any thread."""
        with self._changed:
            self._aborted = True
            self._changed.notify_all()
        self._pool.end_all()

    def close(self) -> None:
        """End the workers and leave the cluster."""
        self.abort()
        self._pool.close()

    def __enter__(self) -> ClusterJudge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def open_cluster(
    workers: str,
    judge: Judge,
    model: str,
    reference: Reference | None,
    notice: Notice,
    check: Callable[[], None],
) -> Iterator[ClusterJudge]:
    """The workers of a run whose own judge is `judge`.

    `model` as the run was given it: a worker opens it for itself.  `reference`
    is the run's reference point where it has begun already.

    `check` is called while workers start; what it raises ends the wait.

    Raises:
        ClusterError: no worker can be used.
        BaselineError: the unchanged model does not run here.
    """
    first = judge.baseline()
    if first.state != "passed" or first.latency is None or judge.reference is None:
        raise BaselineError(first.reason)
    seconds = first.latency.value if reference is None else reference[0] / SLOWER
    ours = Ours(judge.card.hash, kind_of_machine(judge.device), seconds, judge.reference.images)
    wanted = Wanted(
        model,
        judge.device,
        judge.workload.model_dump(mode="json"),
        judge.quality.name,
        len(judge.reference.images),
        os.environ.get(THREADS),
    )
    pool = RayPool(workers, judge.device)
    try:
        with ClusterJudge(pool, wanted, judge.folder, first, ours, notice, check) as spread:
            yield spread
    finally:
        pool.close()
