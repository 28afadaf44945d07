"""The whole job behind one button: open, look at the machine, evolve, certify, export, prove."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from PySide6.QtCore import QObject, Signal

from studio.record.events import RunFinished
from studio.ui.desk import Desk, Problem

LegState = Literal["waiting", "running", "done", "failed"]
LEGS: Final = (
    ("model", "Open the model"),
    ("device", "Look at this machine"),
    ("evolve", "Evolve"),
    ("export", "Export and prove the winner"),
)
"""Step of the rail and what is done there."""


@dataclass(slots=True)
class Leg:
    step: str
    title: str
    state: LegState = "waiting"


class Journey(QObject):
    """One pass through all steps.

    Signals:
        changed(): a leg's state is another now.
        export_wanted(str): pack this candidate (the Export step does it and calls `exported`).
    """

    changed = Signal()
    export_wanted = Signal(str)

    def __init__(self, desk: Desk, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._desk = desk
        self.legs = [Leg(*leg) for leg in LEGS]
        self.active = False
        desk.run.ended.connect(self._on_run_ended)

    def start(self, source: str) -> None:
        """Begin with a model; what is already done is not done again."""
        self.legs = [Leg(*leg) for leg in LEGS]
        self.active = True
        self._enter("model")
        if self._desk.card is not None and self._desk.card.source == source:
            self._on_opened()
            return
        job = self._desk.open_model(source)
        job.done.connect(self._on_opened)
        job.failed.connect(self._fail)

    def stop(self) -> None:
        self._fail()

    def exported(self, *, ok: bool) -> None:
        """The Export step has ended."""
        if not self.active:
            return
        if not ok:
            self._fail()
            return
        self._leg("export").state = "done"
        self.active = False
        self.changed.emit()

    def _leg(self, step: str) -> Leg:
        return next(leg for leg in self.legs if leg.step == step)

    def _enter(self, step: str) -> None:
        for leg in self.legs:
            if leg.state == "running":
                leg.state = "done"
        self._leg(step).state = "running"
        self.changed.emit()

    def _fail(self, *_: object) -> None:
        for leg in self.legs:
            if leg.state == "running":
                leg.state = "failed"
        self.active = False
        self.changed.emit()

    def _on_opened(self, *_: object) -> None:
        self._enter("device")
        if self._desk.targets:
            self._on_devices()
            return
        job = self._desk.refresh_devices()
        job.done.connect(self._on_devices)
        job.failed.connect(self._fail)

    def _on_devices(self, *_: object) -> None:
        self._enter("evolve")
        self._desk.step_wanted.emit("evolve")
        job = self._desk.start_run()
        if job is None:
            self._fail()
            return
        job.failed.connect(self._fail)

    def _on_run_ended(self, finished: RunFinished) -> None:
        if not self.active or self._leg("evolve").state != "running":
            return
        if finished.reason in {"failed", "stopped"} or not finished.winner:
            self._fail()
            return
        self._enter("export")
        self._desk.step_wanted.emit("export")
        self._choose(self._preferred(finished.winner), finished.winner)

    def _preferred(self, winner: str) -> list[str]:
        """What to pack: the winner, else the front from best to fastest, else the quickest that passed."""
        state = self._desk.run.state
        passed = [one for one in state.candidates.values() if one.passed and one.id != "c000"]
        quick = sorted(
            passed, key=lambda one: one.verdict.latency.value if one.verdict and one.verdict.latency else 0
        )
        names = [winner, *reversed(state.front), *(one.id for one in quick)]
        return [name for name in dict.fromkeys(names) if name != "c000"]

    def _choose(self, names: list[str], winner: str) -> None:
        """Ask for one after the other until one can be packed."""
        if not names:
            text = "No candidate of this run can be packed; run longer, or choose one on the Export step."
            self._desk.raise_problem(Problem("export", text, "warning"))
            self._fail()
            return
        name, *rest = names
        job = self._desk.worker.request("exportable", run=self._desk.run.id, candidate=name)

        def examined(result: dict[str, Any]) -> None:
            if not result.get("ok"):
                self._choose(rest, winner)
                return
            if name != winner:
                text = f"{winner} is for exploring only; {name} is packed, which runs without the Studio."
                self._desk.raise_problem(Problem("export", text, "info"))
            self.export_wanted.emit(name)

        job.done.connect(examined)
        job.failed.connect(self._fail)
