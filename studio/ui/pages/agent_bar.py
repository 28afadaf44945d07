"""The line that steers a run: who evolves, what it costs, a sentence to the agent, a candidate that waits."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLineEdit, QPushButton, QWidget

from studio.record.events import LlmDelta
from studio.ui import text
from studio.ui.desk import Desk
from studio.ui.models.run import Changes
from studio.ui.pages.agent import TITLES, AgentDialog, ConsentDialog
from studio.ui.widgets.labels import label

ESTIMATE_AFTER = 500
"""ms without another change of the settings before the cost is estimated anew."""


class AgentBar(QWidget):
    """One row under the header: who evolves, what it has cost, a sentence to it, a candidate that waits."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        self.settings = QPushButton()
        self.settings.setProperty("role", "flat")
        self.settings.setToolTip("Choose who evolves: the built-in agent or a language model")
        self.settings.clicked.connect(self.open_settings)
        self.cost = label("", "small")
        self.sentence = QLineEdit()
        self.sentence.setAccessibleName("Say something to the agent")
        self.sentence.setMaxLength(1000)
        self.sentence.returnPressed.connect(self._say)
        self.sentence.textEdited.connect(self._on_edited)
        self.waiting = label("", wrap=True)
        self.run = QPushButton("Run it")
        self.run.clicked.connect(lambda: self._decide(run=True))
        self.skip = QPushButton("Leave it out")
        self.skip.clicked.connect(lambda: self._decide(run=False))
        row.addWidget(self.settings)
        row.addWidget(self.cost)
        row.addWidget(self.sentence, 1)
        row.addWidget(self.waiting, 1)
        row.addWidget(self.run)
        row.addWidget(self.skip)
        row.addStretch(0)
        self._asked: dict[str, Any] = {}
        """What the estimate on show was asked for."""
        self._guess = ("", "")
        self._soon = QTimer(self, singleShot=True, interval=ESTIMATE_AFTER)
        self._soon.timeout.connect(self._estimate)
        desk.sitting.changed.connect(self._soon.start)
        desk.card_changed.connect(self._soon.start)
        desk.run.changed.connect(self._on_changed)
        desk.worker.heard.connect(self._on_heard)
        desk.consent_wanted.connect(self._ask_consent)
        self._show()

    def open_settings(self) -> None:
        AgentDialog(self._desk, self.window()).exec()
        self._show()

    def _ask_consent(self) -> None:
        if ConsentDialog(self._desk, self.window()).exec() == QDialog.DialogCode.Accepted:
            self._desk.agree()
            self._desk.start_run()

    @property
    def _going(self) -> bool:
        return self._desk.run.phase in {"running", "paused"}

    def _say(self) -> None:
        words = self.sentence.text().strip()
        if words and self._going:
            self.sentence.clear()
            self._desk.steer(words)

    def _on_edited(self, words: str) -> None:
        """Before a run begins the sentence waits for its start."""
        if not self._going:
            self._desk.wish = words.strip()

    def _estimate(self) -> None:
        """Ask what the run that would start now may cost, where that has changed."""
        now = self._desk.sitting.settings
        wanted = self._desk.estimate_language()
        if now.agent == "llm" and not self._going and now.llm_model and wanted != self._asked:
            self._asked = wanted
            self._guess = ("estimating its cost", "")
            job = self._desk.worker.request("llm_estimate", **wanted)
            job.done.connect(lambda result: self._on_estimate(wanted, result))
            job.failed.connect(lambda words, _detail: self._on_estimate(wanted, {"text": words}))
        self._show()

    def _on_estimate(self, wanted: dict[str, Any], result: dict[str, Any]) -> None:
        if wanted == self._asked:
            self._guess = (estimate_text(result), str(result["text"]))
            self._show()

    def _on_heard(self, delta: LlmDelta) -> None:
        """An answer that is coming in costs something before it is counted."""
        state = self._desk.run.state
        if delta.tokens and delta.call in state.asked and delta.call not in state.answered:
            self.cost.setText(spent_text(state.answered.values(), delta))

    def _decide(self, *, run: bool) -> None:
        name = self._desk.run.state.waiting
        if name:
            self.run.setEnabled(False)
            self.skip.setEnabled(False)
            self._desk.decide(name, run=run)

    def _on_changed(self, changes: Changes) -> None:
        if self._going and self._desk.wish:
            self._desk.wish = ""
            self.sentence.clear()
        if changes.talk or changes.phase or changes.everything:
            self._show()

    def _show(self) -> None:
        state, now = self._desk.run.state, self._desk.sitting.settings
        going = self._going
        begun = state.started.agent if state.started is not None else None
        if going:
            named = TITLES["built-in"] if begun is None else begun.model
        else:
            named = TITLES[now.agent] if now.agent == "built-in" else now.llm_model or TITLES["llm"]
        self.settings.setText(f"Agent: {named}")
        self.settings.setAccessibleName(f"Agent settings: {named}")
        before = not going and now.agent == "llm"
        short, whole = self._guess if now.llm_model else ("choose a model to see its cost", "")
        spent = spent_text(state.answered.values()) if begun is not None else ""
        self.cost.setText(short if before else spent)
        self.cost.setToolTip(whole if before else "")
        waits = state.waiting if going else ""
        if waits and waits in state.candidates:
            proposal = state.candidates[waits].proposal
            self.waiting.setText(f"{waits} waits for you: {proposal.title}")
        self.waiting.setVisible(bool(waits))
        for button in (self.run, self.skip):
            button.setVisible(bool(waits))
            button.setEnabled(bool(waits))
        self.sentence.setVisible(not waits)
        self.sentence.setPlaceholderText(
            "Say something to the agent, for example: try without int8"
            if going
            else "Say something before the start, for example: without int8, or only with OpenVINO"
        )


def estimate_text(result: dict[str, Any]) -> str:
    """`a run: $0.41 to $1.20`, or in tokens where the price is not known."""
    if result.get("usd"):
        low, high = result["usd"]
        return f"a run: ${low:.2f} to ${high:.2f}"
    if result.get("tokens"):
        low, high = result["tokens"]
        return f"a run: {low:,} to {high:,} tokens"
    return "its cost cannot be estimated"


def spent_text(answers: Any, coming: LlmDelta | None = None) -> str:
    """`12 calls, 83,000 tokens, $0.41`, with an answer that is still coming in."""
    there = list(answers)
    if not there and coming is None:
        return "nothing asked yet"
    tokens = sum(one.input + one.output + one.write + one.read for one in there)
    money = [one.usd for one in there]
    if coming is not None:
        tokens += coming.tokens
        money.append(coming.usd)
    known = [one for one in money if one is not None]
    dollars = f", ${sum(known):.2f}" if len(known) == len(money) else ""
    about = "about " if coming is not None else ""
    return f"{text.count(len(money))} calls, {about}{tokens:,} tokens{dollars}"
