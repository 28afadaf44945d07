"""What is known about a run: derived from its events, by nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from studio.errors import RunError
from studio.record import events
from studio.record.described import ModelCard
from studio.record.events import Event
from studio.record.verdict import Verdict

Phase = Literal["empty", "running", "paused", "done", "budget", "stopped", "failed"]


@dataclass(slots=True)
class CandidateState:
    """A candidate as far as it has come."""

    proposal: events.CandidateProposed
    stage: str = ""
    """The last stage that was begun; empty before the first."""
    message: str = ""
    verdict: Verdict | None = None

    @property
    def id(self) -> str:
        return self.proposal.id

    @property
    def passed(self) -> bool:
        return self.verdict is not None and self.verdict.state == "passed"


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence of the user and what was answered."""

    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class Turn:
    """Something that the agent or the user said or did, or that became of it."""

    kind: Literal["said", "asked", "proposed", "judged"]
    name: str
    """A candidate's id; the number of a sentence, from 0, or of a question to the language model."""


@dataclass(slots=True)
class RunState:
    """Apply events in order; every field is what they say so far."""

    run: str = ""
    seq: int = 0
    started: events.RunStarted | None = None
    started_at: float = 0.0
    updated_at: float = 0.0
    candidates: dict[str, CandidateState] = field(default_factory=dict)
    """By id, in the order of proposal; `c000` is the baseline."""
    generation: int = 0
    planned: int = 0
    front: tuple[str, ...] = ()
    knee: str | None = None
    hypervolume: float = 0.0
    reference: tuple[float, float] | None = None
    """(seconds per image, loss): where the hypervolume is measured from."""
    hypervolumes: list[tuple[int, float]] = field(default_factory=list)
    """(judged candidates, hypervolume) after each update."""
    progress: events.Progress | None = None
    notices: list[events.Notice] = field(default_factory=list)
    certified: list[events.Certified] = field(default_factory=list)
    waiting: str = ""
    """The candidate that waits for the user to agree."""
    said: list[Said] = field(default_factory=list)
    """What the user said to the agent, in order."""
    turns: list[Turn] = field(default_factory=list)
    """The conversation in the order in which it happened."""
    declined: list[str] = field(default_factory=list)
    """Candidates that the user did not want to run."""
    asked: dict[int, events.LlmAsked] = field(default_factory=dict)
    """Questions to the language model by number."""
    answered: dict[int, events.LlmAnswered] = field(default_factory=dict)
    paused: bool = False
    finished: events.RunFinished | None = None
    searched: float = 0.0
    """Seconds from start or resumption to the last event, added up; pauses are not counted."""
    _since: float = 0.0

    @classmethod
    def replay(cls, recorded: Iterable[Event]) -> RunState:
        state = cls()
        for item in recorded:
            state.apply(item)
        return state

    @property
    def phase(self) -> Phase:
        if self.finished is not None:
            return self.finished.reason
        if self.started is None:
            return "empty"
        return "paused" if self.paused else "running"

    @property
    def model(self) -> ModelCard | None:
        return None if self.started is None else self.started.model

    @property
    def baseline(self) -> CandidateState | None:
        return self.candidates.get("c000")

    @property
    def winner(self) -> str | None:
        """The winner once there is one, else the knee."""
        if self.finished is not None and self.finished.winner is not None:
            return self.finished.winner
        return self.knee

    @property
    def approve(self) -> bool:
        """Whether the user is asked before each candidate runs."""
        begun = self.started
        return begun is not None and (begun.approve or (begun.agent is not None and begun.agent.approve))

    @property
    def steered(self) -> tuple[str, ...]:
        """The user's sentences, those before the start first."""
        agent = None if self.started is None else self.started.agent
        return (*(() if agent is None else agent.wishes), *(one.text for one in self.said))

    @property
    def judged(self) -> int:
        return sum(candidate.verdict is not None for candidate in self.candidates.values())

    def candidate(self, name: str) -> CandidateState:
        """By id, or `winner`, `knee`, `baseline`.

        Raises:
            RunError: there is none.
        """
        wanted = {"winner": self.winner, "knee": self.knee, "baseline": "c000"}.get(name, name)
        found = self.candidates.get(wanted or "")
        if found is None:
            known = ", ".join(self.candidates) or "none yet"
            raise RunError(f"The run {self.run} has no candidate {name}; it has: {known}.")
        return found

    def apply(self, item: Event) -> None:
        """Take one event in; transient ones and unknown types change nothing."""
        if item.type in events.TRANSIENT or item.type not in events.EVENTS:
            return
        self.run = item.run or self.run
        self.seq = item.seq
        # The time between a kill or a pause and the resumption is nobody's work.
        if self._since and not self.paused and self.finished is None and item.type != "run.resumed":
            self.searched += max(0.0, item.time - self._since)
        self._since = item.time
        self.updated_at = item.time
        match item.payload():
            case events.RunStarted() as data:
                self.started, self.started_at, self.reference = data, item.time, data.reference
            case events.GenerationStarted() as data:
                self.generation, self.planned = data.generation, data.planned
            case events.CandidateProposed() as data:
                self.candidates[data.id] = CandidateState(data)
                self.turns.append(Turn("proposed", data.id))
            case events.CandidateStage() as data if data.id in self.candidates:
                self.candidates[data.id].stage = data.stage
                self.candidates[data.id].message = data.message
            case events.CandidateJudged() as data if data.id in self.candidates:
                self.candidates[data.id].verdict = data.verdict
                self.turns.append(Turn("judged", data.id))
            case events.FrontUpdated() as data:
                self.front, self.knee, self.hypervolume = data.front, data.knee, data.hypervolume
                self.reference = data.reference or self.reference
                self.hypervolumes.append((self.judged, data.hypervolume))
            case events.Progress() as data:
                self.progress = data
            case events.Notice() as data:
                self.notices.append(data)
            case events.Certified() as data:
                same = [old for old in self.certified if (old.id, old.claim) != (data.id, data.claim)]
                self.certified = [*same, data]
            case events.CandidateWaiting() as data:
                self.waiting = data.id
            case events.CandidateDecided() as data:
                self.waiting = ""
                if not data.run:
                    self.declined.append(data.id)
            case events.RunSteered() as data:
                self.turns.append(Turn("said", str(len(self.said))))
                self.said.append(Said(data.text, data.answer))
            case events.LlmAsked() as data:
                self.asked[data.call] = data
                self.turns.append(Turn("asked", str(data.call)))
            case events.LlmAnswered() as data:
                self.answered[data.call] = data
            case events.RunPaused():
                self.paused = True
            case events.RunResumed() as data:
                if self.started is not None:
                    given = {name: getattr(data, name) for name in type(data).model_fields}
                    changed = {name: value for name, value in given.items() if value is not None}
                    self.started = self.started.model_copy(update=changed)
                self.paused, self.finished, self.waiting = False, None, ""
            case events.RunFinished() as data:
                self.finished, self.paused, self.waiting = data, False, ""
