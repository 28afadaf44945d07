"""From the loop's calls to the run's events and files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

from agent.candidate import Candidate, Stage, Verdict
from agent.loop import Listener
from studio.record import events
from studio.record.data import Data
from studio.record.settings import write_atomically
from studio.record.verdict import Step
from studio.work.control import Control
from studio.work.convert import verdict_event

_WIDE: Final = "Its time may be far from a quiet machine's; every candidate that this happens to is marked."


class Abandoned(BaseException):
    """What is going on is given up.  No `Exception`, so that no evaluator takes it for a failed candidate."""


class Recorder(Listener):
    """`record` commits an event and tells it; scripts go to `folder / "candidates"`."""

    def __init__(
        self,
        folder: Path,
        record: Callable[[Data], Any],
        control: Control,
        reference: tuple[float, float] | None = None,
    ) -> None:
        self._folder = folder
        self._record = record
        self._control = control
        self._reference = reference
        self._warned = False
        self.walls: Callable[[], str] = str
        """Behind which walls candidates run, as a sentence, once it is known."""

    def check(self) -> None:
        """Raises `Abandoned` once the user gave up what is going on."""
        if self._control.abort:
            raise Abandoned

    def baseline_measured(self, verdict: Verdict, reference: tuple[float, float]) -> None:
        del verdict
        self.check()
        begins, self._reference = self._reference is None, reference
        if begins and (walls := self.walls()):
            self.notice("info", walls)

    def generation_started(self, generation: int, planned: int) -> None:
        self._record(events.GenerationStarted(generation=generation, planned=planned))

    def proposed(self, candidate: Candidate, title: str) -> None:
        name = f"candidates/{candidate.id}.py"
        write_atomically(self._folder / name, candidate.script)
        proposal = candidate.proposal
        self._record(
            events.CandidateProposed(
                id=candidate.id,
                generation=candidate.generation,
                origin=proposal.origin,
                parents=proposal.parents,
                recipe=tuple(
                    Step(technique=step.technique, parameters=dict(step.parameters))
                    for step in proposal.recipe
                ),
                title=title,
                why=proposal.why,
                script=name,
                code=proposal.code,
                by=proposal.by,
            )
        )

    def stage(self, name: str, stage: Stage, message: str) -> None:
        self.check()
        self._record(events.CandidateStage(id=name, stage=stage, message=message))

    def judged(self, candidate: Candidate, verdict: Verdict) -> None:
        # A verdict that came while the candidate was being given up is not to be believed.
        self.check()
        verdict_told = verdict_event(verdict)
        self._record(events.CandidateJudged(id=candidate.id, verdict=verdict_told))
        if verdict_told.disturbed and not self._warned:  # the others say it for themselves
            self._warned = True
            self.notice("warning", f"{candidate.id}: {verdict_told.disturbed} {_WIDE}")

    def front_updated(
        self, generation: int, ids: tuple[str, ...], knee: str | None, hypervolume: float
    ) -> None:
        self._record(
            events.FrontUpdated(
                generation=generation,
                front=ids,
                knee=knee,
                hypervolume=hypervolume,
                reference=self._reference,
            )
        )

    def progress(self, done: int, total: int, doing: str, seconds: tuple[float, float] | None) -> None:
        low, high = seconds or (None, None)
        self._record(events.Progress(done=done, total=total, doing=doing, seconds_low=low, seconds_high=high))

    def notice(self, level: Literal["info", "warning", "error"], text: str) -> None:
        self._record(events.Notice(level=level, text=text))

    def paused(self) -> None:
        self._record(events.RunPaused())

    def resumed(self) -> None:
        self._record(events.RunResumed())
