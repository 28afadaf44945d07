"""The run on show: events taken in, what changed said once a batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from PySide6.QtCore import QObject, Signal

from studio.record import events
from studio.record.described import Metric
from studio.record.events import Event
from studio.record.state import CandidateState, RunState
from studio.ui import text

Standing = Literal["baseline", "running", "front", "passed", "failed", "quarantined", "declined"]
WORDS: Final[dict[Standing, str]] = {
    "baseline": "baseline",
    "running": "running",
    "front": "on the front",
    "passed": "dominated",
    "failed": "failed",
    "quarantined": "quarantined",
    "declined": "left out",
}


@dataclass(slots=True)
class Changes:
    """What a batch of events changed; `everything` after another run was opened."""

    everything: bool = False
    added: list[str] = field(default_factory=list)
    updated: set[str] = field(default_factory=set)
    front: bool = False
    progress: bool = False
    phase: bool = False
    certified: bool = False
    talk: bool = False
    """What was asked of the language model, or said to it."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the log."""

    time: float
    level: Literal["info", "warning", "error", "worker"]
    text: str


class RunModel(QObject):
    """State of one run with its log.

    Signals:
        changed(Changes): after each batch of events.
        logged(list[LogLine]): new lines of the log.
        ended(RunFinished): the run came to its end while it was watched.
    """

    changed = Signal(object)
    logged = Signal(list)
    ended = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state = RunState()
        self.folder: Path | None = None
        self.live = False
        """Whether the worker is writing this run now."""

    def open(self, recorded: list[Event], folder: Path | None = None) -> None:
        """Show a recorded run, or nothing."""
        self.state = RunState()
        self.folder = folder
        self.live = False
        lines: list[LogLine] = []
        for item in recorded:
            lines += self._take(item, Changes())
        self.logged.emit(lines)
        self.changed.emit(Changes(True, front=True, progress=True, phase=True, certified=True, talk=True))

    def feed(self, batch: list[Event]) -> None:
        """Take in live events; those of another run begin a new one or are ignored."""
        changes = Changes()
        lines: list[LogLine] = []
        finished: events.RunFinished | None = None
        for item in batch:
            if item.run != self.state.run:
                if item.type != "run.started":
                    continue
                self.state = RunState()
                self.folder = None
                finished = None  # the end of the run before this one
                changes = Changes(True, front=True, progress=True, phase=True, certified=True, talk=True)
            elif item.seq and item.seq <= self.state.seq:
                continue
            lines += self._take(item, changes)
            self.live = item.type != "run.finished"
            if item.type == "run.finished":
                finished = self.state.finished
        if lines:
            self.logged.emit(lines)
        self.changed.emit(changes)
        if finished is not None:
            self.ended.emit(finished)

    def lost(self) -> None:
        """The worker is gone: the run stands still."""
        if self.live:
            self.live = False
            self.changed.emit(Changes(phase=True))

    # -- reading --------------------------------------------------------------------------------

    @property
    def metric(self) -> Metric | None:
        return None if self.state.started is None else self.state.started.metric

    @property
    def id(self) -> str:
        return self.state.run

    @property
    def phase(self) -> str:
        """`empty`, `running`, `paused`, `interrupted`, or how it ended."""
        phase = self.state.phase
        return "interrupted" if phase in {"running", "paused"} and not self.live else phase

    def standing(self, name: str) -> Standing:
        """How a candidate is drawn and named."""
        candidate = self.state.candidates[name]
        if candidate.verdict is None:
            return "declined" if name in self.state.declined else "running"
        if candidate.verdict.state == "passed":
            if candidate.proposal.origin == "baseline":
                return "baseline"
            return "front" if name in self.state.front else "passed"
        return candidate.verdict.state

    def picture(self, image: str) -> Path | None:
        """Where a picture of the run lies."""
        return None if self.folder is None or not image else self.folder / image

    def first_picture(self, name: str) -> Path | None:
        verdict = self.state.candidates[name].verdict
        return self.picture(verdict.samples[0].image) if verdict and verdict.samples else None

    def certificate(self, name: str) -> events.Certified | None:
        """What was certified of a candidate: a claim that held before one that did not, then the last."""
        found = self.certificates(name)
        return found[0] if found else None

    def certificates(self, name: str) -> list[events.Certified]:
        """Every claim checked for a candidate, those that held first."""
        found = [one for one in reversed(self.state.certified) if one.id == name]
        return sorted(found, key=lambda one: not one.held)

    # -- taking in ------------------------------------------------------------------------------

    def _take(self, item: Event, changes: Changes) -> list[LogLine]:
        before = self.state.front
        try:
            data = item.payload()
            self.state.apply(item)
        except (KeyError, ValueError) as error:
            return [LogLine(item.time, "warning", f"An event {item.type} could not be read: {error}")]
        level: Literal["info", "warning", "error"] = "info"
        words = ""
        match data:
            case events.RunStarted():
                changes.everything = changes.phase = True
                self.folder = self.folder or Path(data.folder)
                words = f"Run on {data.model.name}: {data.generations} generations of {data.population}"
            case events.GenerationStarted():
                changes.phase = True
                words = f"Generation {data.generation}: {data.planned} candidates"
            case events.CandidateProposed():
                changes.added.append(data.id)
                words = f"{data.id} {data.title}. {data.why}"
            case events.CandidateStage():
                changes.updated.add(data.id)
                words = f"{data.id} {data.stage}: {data.message}" if data.message else ""
            case events.CandidateJudged():
                changes.updated.add(data.id)
                words, level = self._judged(data)
            case events.FrontUpdated():
                changes.front = True
                changes.updated.update(set(before) ^ set(data.front))
            case events.Progress():
                changes.progress = True
            case events.Notice():
                words, level = data.text, data.level
            case events.Certified():
                changes.certified = True
                changes.updated.add(data.id)
                outcome = "holds" if data.held else "not proven"
                words = f"{data.id} {data.claim}: {outcome} on {data.prompts} prompts"
            case events.LlmAsked():
                changes.talk = True
                words = f"Asked for {' of '.join(filter(None, (data.purpose, data.candidate)))}."
            case events.LlmAnswered():
                changes.talk = True
                level = "warning" if data.error else "info"
                words = f"Answer {data.call}: {data.error or data.summary}"
            case events.RunSteered():
                changes.talk = True
                words = f"You: {data.text}" + (f" Agent: {data.answer}" if data.answer else "")
            case events.CandidateWaiting():
                changes.talk = True
            case events.CandidateDecided():
                changes.talk = True
                changes.updated.add(data.id)
            case events.RunPaused():
                changes.phase = True
                words = f"Paused. {data.reason}".strip()
            case events.RunResumed():
                changes.phase = True
                words = "Resumed."
            case events.RunFinished():
                changes.phase = True
                words = data.text
                level = "error" if data.reason == "failed" else "info"
        return [LogLine(item.time, level, words)] if words else []

    def _judged(self, data: events.CandidateJudged) -> tuple[str, Literal["info", "warning"]]:
        verdict = data.verdict
        if verdict.state != "passed" or verdict.latency is None:
            return f"{data.id} {verdict.state} at {verdict.stage}: {verdict.reason}", "warning"
        parts = [text.seconds(verdict.latency.value)]
        if verdict.speedup is not None:
            parts.append(text.ratio(verdict.speedup.value))
        if verdict.loss is not None:
            parts.append(f"loss {text.loss(verdict.loss.value, self.metric)}")
        return f"{data.id} passed: {', '.join(parts)}", "info"


def title(candidate: CandidateState) -> str:
    """`c012  DPM++ 2M 12 + OpenVINO`."""
    return f"{candidate.id}  {candidate.proposal.title}"
