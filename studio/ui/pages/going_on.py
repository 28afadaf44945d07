"""More for a run that has ended: generations, time, and what its language model may cost further."""

from __future__ import annotations

from PySide6.QtWidgets import QDialog, QFormLayout, QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from studio.record.events import RunStarted
from studio.record.state import RunState
from studio.ui.desk import Desk
from studio.ui.widgets.fields import real, whole
from studio.ui.widgets.labels import label, rule

FURTHER = 2
"""Generations that are offered to a run which has done all of its own."""


def offered(state: RunState, begun: RunStarted) -> tuple[int, float]:
    """Further generations and minutes that make sense by how a run ended; 0: none needed."""
    done = state.finished is not None and state.finished.reason == "done"
    spent = begun.budget is not None and state.searched >= 0.9 * begun.budget
    minutes = max(1.0, round((begun.budget or 0.0) / 60)) if begun.budget and (spent or done) else 0.0
    return (FURTHER if done else 0), minutes


class GoOnDialog(QDialog):
    """Asks how much further, then resumes the run where it was."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._desk = desk
        state = desk.run.state
        begun = state.started
        assert begun is not None
        self._generations = begun.generations
        self.setWindowTitle("Go on with this run")
        self.setMinimumWidth(460)
        further, minutes = offered(state, begun)
        self.generations = whole("Further generations", 0, 1000, further, least="none")
        self.minutes = real("Further time", 0, 10_000, minutes, digits=0, unit="min", least="no more")
        if begun.budget is None:
            self.minutes.setSpecialValueText("no limit")
        form = QFormLayout()
        form.setSpacing(8)
        form.addRow("Further generations", self.generations)
        form.addRow("Further time", self.minutes)
        self.money = QLineEdit()
        self.money.setAccessibleName("Further budget of the language model")
        self.money.setPlaceholderText("as it was; for example 2.50 (US dollars) or 300k tokens")
        self.money.setMaxLength(60)
        if begun.agent is not None:
            form.addRow("Language model", self.money)
        ended = "" if state.finished is None else state.finished.text
        self.about = label(ended, "muted", wrap=True)
        self.said = label("", "small", wrap=True)
        self.go = QPushButton("Go on")
        self.go.setProperty("role", "primary")
        self.go.setDefault(True)
        self.go.clicked.connect(self._on_go)
        cancel = QPushButton("Cancel")
        cancel.clicked.connect(self.reject)
        for changed in (self.generations.valueChanged, self.minutes.valueChanged, self.money.textChanged):
            changed.connect(lambda _: self._show())
        column = QVBoxLayout(self)
        column.setSpacing(12)
        column.addWidget(self.about)
        column.addLayout(form)
        column.addWidget(self.said)
        column.addWidget(rule())
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(cancel)
        row.addWidget(self.go)
        column.addLayout(row)
        self._show()

    def _show(self) -> None:
        """What is there is kept; a run that has done everything needs more of something."""
        state = self._desk.run.state
        more = bool(self.generations.value() or self.minutes.value() or self.money.text().strip())
        unfinished = state.finished is not None and state.finished.reason in ("stopped", "failed")
        self.go.setEnabled(more or unfinished)
        total = self._generations + self.generations.value()
        done = state.finished is not None and state.finished.reason == "done"
        at = min(total, max(1, state.generation + done))
        self.said.setText(
            f"It goes on in generation {at} of {total}, with every candidate so far."
            if self.go.isEnabled()
            else "This run has used all that it was given: give it generations or time."
        )

    def _on_go(self) -> None:
        further = self.generations.value()
        self._desk.go_on(
            generations=self._generations + further if further else None,
            budget=self.minutes.value() * 60 or None,
            llm_budget=self.money.text().strip(),
        )
        self.accept()
