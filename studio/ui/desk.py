"""What is open in the window and what can be asked of the worker: the one thing that pages share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError
from PySide6.QtCore import QObject, QTimer, Signal

from studio.errors import StudioError
from studio.record.described import ModelCard, TargetState
from studio.record.events import Event, RunFinished, WorkerReady
from studio.record.journal import Journal
from studio.record.settings import SavedWorkload
from studio.ui.bridge import Job, Worker
from studio.ui.models.run import LogLine, RunModel
from studio.ui.pictures import Pictures
from studio.ui.sitting import Sitting

BUNDLED = "tiny-scenes"
OWN_ADDRESS = "the service's own address"
"""Stands for the language model's default address."""
CERTIFIED_ON = 200
"""Prompts on which a claim is checked unless somebody asks for another number."""
DRAWS = frozenset(
    {"compare", "generate", "discriminator", "reuse", "certify", "export", "export_as", "export_cascade"}
)
"""Commands that run candidates of a run that is there, and ask first where nothing limits them."""
RUN_IT = "Run it all the same"
Level = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class Problem:
    """A sentence for one step, with the next action."""

    step: str
    text: str
    level: Level = "error"
    title: str = ""
    action: Callable[[], object] | None = None


SOON: Final = 50
"""ms until something is looked at unasked: a turn of its own, after what changed is drawn."""


class Desk(QObject):
    """Model, device, run, selection; and the jobs that change them.

    Signals:
        card_changed(), targets_changed(), selection_changed(str), pair_changed(), busy_changed()
        problem(Problem): a step has something to say in place.
        logged(list[LogLine])
        step_wanted(str): open a step of the rail.
        consent_wanted(): a run would tell a language model things, and nobody has agreed to that yet.
        token_wanted(Callable): the hub wants the user's token; what to do again once there is one.
    """

    card_changed = Signal()
    targets_changed = Signal()
    selection_changed = Signal(str)
    pair_changed = Signal()
    busy_changed = Signal()
    problem = Signal(object)
    logged = Signal(list)
    step_wanted = Signal(str)
    consent_wanted = Signal()
    token_wanted = Signal(object)

    def __init__(self, sitting: Sitting, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.sitting, self.worker = sitting, worker
        self._agreed: set[str] = set()
        self.run = RunModel(self)
        self.pictures = Pictures(self)
        self.card: ModelCard | None = None
        self.targets: list[TargetState] = []
        self.machine: dict[str, Any] = {}
        self.selected = ""
        self.pair = ("c000", "")
        self.opening = False
        self.asking_devices = False
        self.wish = ""
        """A sentence to the agent, for the run that starts or goes on next."""
        self.exported = ""
        """Package that was made of the run on show."""
        self.problems: dict[str, Problem] = {}
        worker.events.connect(self._on_events)
        worker.lost.connect(self._on_lost)
        worker.ready.connect(self._on_ready)
        worker.said.connect(self._on_said)
        self.run.logged.connect(self.logged)
        self.run.ended.connect(self._on_ended)

    # -- model and device -----------------------------------------------------------------------

    def open_model(self, source: str) -> Job:
        """Ask for a model's card; it becomes the open model."""
        self.opening = True
        self.busy_changed.emit()
        job = self._ask("model", "inspect", retry=lambda: self.open_model(source), model=source)
        job.done.connect(lambda result: self._on_card(source, result))
        job.ended.connect(self._opened)
        return job

    def refresh_devices(self) -> Job:
        self.asking_devices = True
        self.busy_changed.emit()
        job = self._ask("device", "devices", retry=self.refresh_devices)
        job.done.connect(self._on_devices)
        job.ended.connect(self._devices_asked)
        return job

    def choose_target(self, name: str) -> None:
        self.sitting.change(target=name)
        self.targets_changed.emit()

    @property
    def target(self) -> TargetState | None:
        """The chosen target, once the devices are known."""
        return next((one for one in self.targets if one.id == self.sitting.settings.target), None)

    @property
    def source(self) -> str:
        """What the worker is asked to open: the card's source, or the last model."""
        return self.card.source if self.card is not None else self.sitting.settings.model

    def set_workload(self, workload: SavedWorkload) -> None:
        self.sitting.change(workload=workload.model_dump())

    def workload(self) -> dict[str, Any]:
        """As the worker takes it; frames are left out for a model that draws pictures."""
        now = self.sitting.settings.workload
        still = self.card is not None and not self.card.frames
        return (now.model_copy(update={"frames": None}) if still else now).model_dump(mode="json")

    # -- a run ----------------------------------------------------------------------------------

    def start_run(self, **agreed: bool) -> Job | None:
        """Evolve the open model with the settings in force; None: first somebody has to agree.

        `agreed`: what the user was asked by an earlier try.
        """
        now = self.sitting.settings
        language: dict[str, Any] = {}
        if now.agent == "llm":
            if now.llm_agreed != (now.llm_url or OWN_ADDRESS):
                # The step holds the one who asks.
                self.step_wanted.emit("evolve")
                self.consent_wanted.emit()
                return None
            language = {
                "agent": now.agent,
                "llm_model": now.llm_model,
                "llm_url": now.llm_url,
                "llm_budget": now.llm_budget,
            }
        job = self._ask(
            "evolve",
            "start",
            retry=self.start_run,
            agree=self.start_run,
            model=now.model if self.card is None else self.source,
            target=now.target,
            workload=self.workload(),
            preset=now.preset,
            generations=now.generations,
            population=now.population,
            budget=now.budget,
            seed=now.seed,
            metric=now.metric or None,
            gate=now.gate,
            workers=now.workers,
            approve=now.approve,
            wishes=self._wishes(),
            **language,
            **agreed,
        )
        self.busy_changed.emit()
        return job

    def resume_run(self, **agreed: bool) -> Job | None:
        if not self.run.id:
            return None
        where = str(self.run.folder) if self.run.folder is not None else self.run.id
        job = self._ask(
            "evolve",
            "resume",
            retry=self.resume_run,
            agree=self.resume_run,
            run=where,
            workers=self.sitting.settings.workers,
            wishes=self._wishes(),
            **agreed,
        )
        self.busy_changed.emit()
        return job

    @property
    def can_go_on(self) -> bool:
        """Whether the run on show has ended and could be given more; a script of the user's own could not."""
        begun = self.run.state.started
        return (
            begun is not None
            and begun.preset != "script"
            and self.run.phase in {"done", "budget", "stopped", "failed"}
        )

    def go_on(self, *, generations: int | None, budget: float | None, llm_budget: str, **agreed: bool) -> Job:
        """Continue a run that has ended: a new total of generations, further seconds, further money."""

        def again(**more: bool) -> Job:
            return self.go_on(generations=generations, budget=budget, llm_budget=llm_budget, **more)

        job = self._ask(
            "evolve",
            "resume",
            retry=again,
            agree=again,
            run=self._run_place(),
            generations=generations,
            budget=budget,
            llm_budget=llm_budget,
            workers=self.sitting.settings.workers,
            wishes=self._wishes(),
            **agreed,
        )
        self.busy_changed.emit()
        return job

    def start_or_resume(self) -> None:
        if self.run.phase in {"paused", "interrupted"}:
            self.resume_run()
        elif self.run.phase != "running":
            self.start_run()

    def pause_run(self) -> None:
        if self.run.phase == "running":
            self._ask("evolve", "pause")

    def stop_run(self) -> None:
        if self.run.phase in {"running", "paused"}:
            self._ask("evolve", "stop")

    def estimate_language(self) -> dict[str, Any]:
        """What `llm_estimate` is asked for the run that would start now."""
        now = self.sitting.settings
        return {
            "model": self.source,
            "llm_model": now.llm_model,
            "target": now.target,
            "workload": self.workload(),
            "preset": now.preset,
            "url": now.llm_url,
            "generations": now.generations,
            "population": now.population,
        }

    def agree(self) -> None:
        """What leaves the machine for the language model in force is agreed to."""
        self.sitting.change(llm_agreed=self.sitting.settings.llm_url or OWN_ADDRESS)

    def steer(self, words: str) -> Job:
        """A sentence to the agent, heard before its next plan."""
        return self._ask("evolve", "steer", text=words)

    def decide(self, name: str, *, run: bool) -> Job:
        """Let a waiting candidate run, or not."""
        return self._ask("evolve", "decide", candidate=name, run=run)

    def certify(self, name: str, claim: str = "", prompts: int = CERTIFIED_ON) -> Job:
        """Check a claim (empty: the run's own) about a candidate on so many fresh prompts."""
        return self._ask(
            "evolve",
            "certify",
            retry=lambda: self.certify(name, claim, prompts),
            run=self._run_place(),
            candidate=name,
            claim=claim,
            prompts=prompts,
        )

    def report(self) -> Job:
        return self._ask("evolve", "report", retry=self.report, run=self._run_place())

    def open_run(self, folder: Path) -> bool:
        """Show a recorded run; a damaged one leaves what is open as it is."""
        try:
            recorded = Journal.read(folder)
        except StudioError as error:
            self.raise_problem(Problem("evolve", str(error)))
            return False
        self.pictures.forget()
        self.run.open(recorded, folder)
        self.sitting.change(last_run=str(folder))
        if self.run.state.model is not None and self.card is None:
            self.card = self.run.state.model
            self.card_changed.emit()
        self.select(self.run.state.winner or "")
        return True

    def select(self, name: str) -> None:
        """One candidate is looked at: table, plot and inspector follow."""
        if name != self.selected:
            self.selected = name
            self.selection_changed.emit(name)

    def compare(self, a: str, b: str) -> None:
        """Put two candidates side by side."""
        self.pair = (a, b)
        self.pair_changed.emit()

    def candidates(self, *, passed: bool = True) -> list[str]:
        """Names of the candidates that have pictures."""
        return [
            name
            for name, one in self.run.state.candidates.items()
            if not passed or (one.passed and one.verdict)
        ]

    # -- plumbing -------------------------------------------------------------------------------

    def ask(
        self, step: str, command: str, retry: Callable[[], object] | None = None, **arguments: Any
    ) -> Job:
        """A job whose failure is told on `step`."""
        return self._ask(step, command, retry=retry, **arguments)

    def agreed(self, command: str) -> dict[str, bool]:
        """What the user agreed to in this sitting, as arguments of a command that draws."""
        return dict.fromkeys(self._agreed, True) if command in DRAWS else {}

    def take_word(self, asked: str, again: Callable[[], object]) -> None:
        """The user agrees to what a command asked first: it is asked for no more, and done again."""
        self._agreed.add(asked)
        again()

    def raise_problem(self, problem: Problem) -> None:
        self.problems[problem.step] = problem
        self.problem.emit(problem)

    def forget_problem(self, step: str) -> None:
        self.problems.pop(step, None)

    def close(self) -> None:
        self.worker.close()
        self.pictures.close()
        self.sitting.save()

    def _wishes(self) -> list[str]:
        return [self.wish] if self.wish else []

    def _run_place(self) -> str:
        return str(self.run.folder) if self.run.folder is not None else self.run.id

    def _ask(
        self,
        step: str,
        command: str,
        retry: Callable[[], object] | None = None,
        agree: Callable[..., object] | None = None,
        **arguments: Any,
    ) -> Job:
        self.problems.pop(step, None)
        job = self.worker.request(command, **(self.agreed(command) | arguments))

        def failed(text: str, detail: str) -> None:
            if detail:
                self.logged.emit([_line(detail, "error")])
            if job.asks and agree is not None:
                asked = {job.asks: True}
                self.raise_problem(Problem(step, text, "warning", RUN_IT, lambda: agree(**asked)))
            elif job.asks and retry is not None:
                again = retry
                self.raise_problem(
                    Problem(step, text, "warning", RUN_IT, lambda: self.take_word(job.asks, again))
                )
            elif job.wants == "hub_token" and retry is not None:
                again = retry
                self.raise_problem(
                    Problem(step, text, "error", "Enter your token…", lambda: self.token_wanted.emit(again))
                )
            elif text != "Cancelled.":
                self.raise_problem(Problem(step, text, "error", "Try again" if retry else "", retry))

        job.failed.connect(failed)
        job.ended.connect(self.busy_changed)
        return job

    def _on_card(self, source: str, result: dict[str, Any]) -> None:
        try:
            self.card = ModelCard.model_validate(result["card"])
        except (KeyError, ValidationError) as error:
            self.raise_problem(Problem("model", f"The worker's card of {source} could not be read: {error}"))
            return
        self.sitting.opened(source)
        self.card_changed.emit()

    def _opened(self) -> None:
        self.opening = False
        self.busy_changed.emit()

    def _devices_asked(self) -> None:
        self.asking_devices = False
        self.busy_changed.emit()

    def _on_devices(self, result: dict[str, Any]) -> None:
        try:
            self.targets = [TargetState.model_validate(row) for row in result["targets"]]
        except (KeyError, ValidationError) as error:
            self.raise_problem(Problem("device", f"The worker's list of devices could not be read: {error}"))
            return
        self.machine = dict(result.get("machine", {}))
        self.targets_changed.emit()

    def _on_events(self, batch: list[Event]) -> None:
        before = self.run.id
        self.run.feed(batch)
        if self.run.id != before:
            self.pictures.forget()
            self.selected = ""
            self.pair = ("c000", "")
            self.sitting.change(last_run=str(self.run.folder or ""))
            self.selection_changed.emit("")
        if not self.selected:
            QTimer.singleShot(SOON, self._look_at_something)

    def _look_at_something(self) -> None:
        """From the first minute on there is something to see."""
        baseline = self.run.state.baseline
        if not self.selected and baseline is not None and baseline.verdict is not None:
            self.select(baseline.id)

    def _on_ended(self, finished: RunFinished) -> None:
        if self.selected in {"", "c000"} and finished.winner:
            self.select(finished.winner)
        if finished.reason == "failed":
            self.raise_problem(Problem("evolve", finished.text, "error", "Resume", self.resume_run))

    def _on_ready(self, data: WorkerReady) -> None:
        self.logged.emit([_line(f"Worker {data.version} is ready (process {data.pid}).", "info")])
        self.busy_changed.emit()

    def _on_lost(self, text: str) -> None:
        self.run.lost()
        self.logged.emit([_line(text, "error")])
        self.raise_problem(Problem("worker", text, "error", "Restart the worker", self.worker.restart))
        self.busy_changed.emit()

    def _on_said(self, words: str) -> None:
        self.logged.emit([_line(words, "worker")])


def _line(words: str, level: Literal["info", "warning", "error", "worker"]) -> LogLine:
    import time

    return LogLine(time.time(), level, words)
