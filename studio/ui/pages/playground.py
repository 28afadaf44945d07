"""Playground: type a prompt, see the baseline beside the candidate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from studio.ui import text
from studio.ui.desk import RUN_IT, Desk
from studio.ui.theme import Theme
from studio.ui.widgets.canvas import Canvas
from studio.ui.widgets.fields import whole
from studio.ui.widgets.labels import label
from studio.ui.widgets.message import Message


class Playground(QWidget):
    """Asks the worker for one picture of each."""

    def __init__(self, desk: Desk, theme: Theme) -> None:
        super().__init__()
        self._desk = desk
        self._paths: tuple[Path | None, Path | None] = (None, None)
        self._names = ("A", "B")
        self.candidate = ""
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        row = QHBoxLayout()
        row.setSpacing(8)
        self.prompt = QLineEdit()
        self.prompt.setPlaceholderText("Type a prompt and press Return")
        self.prompt.setAccessibleName("Prompt")
        self.prompt.returnPressed.connect(self.make)
        self._seed = whole("Seed", -1, 2**31 - 1, -1, least="fresh seed")
        self._baseline = QCheckBox("With baseline")
        self._baseline.setChecked(True)
        self.go = QPushButton("Make")
        self.go.setProperty("role", "primary")
        self.go.setAccessibleName("Make pictures of the prompt")
        self.go.clicked.connect(self.make)
        row.addWidget(self.prompt, 1)
        for widget in (self._seed, self._baseline, self.go):
            row.addWidget(widget)
        column.addLayout(row)
        self.message = Message()
        column.addWidget(self.message)
        self.canvas = Canvas(theme)
        self.canvas.setAccessibleName("Baseline and candidate of the typed prompt")
        column.addWidget(self.canvas, 1)
        self._outcome = label("", "muted")
        column.addWidget(self._outcome)
        desk.pictures.ready.connect(self._on_ready)

    def make(self) -> None:
        prompt = self.prompt.text().strip()
        if not prompt or not self._desk.run.id:
            self.message.say(
                "Open or start a run first: the playground uses its candidates."
                if not self._desk.run.id
                else "Type what the picture should show.",
                "warning",
            )
            return
        self.message.clear()
        self.go.setEnabled(False)
        self._outcome.setText("Making pictures…")
        arguments: dict[str, Any] = {"run": self._desk.run.id, "prompt": prompt}
        if self.candidate:
            arguments["candidate"] = self.candidate
        if self._seed.value() >= 0:
            arguments["seed"] = self._seed.value()
        arguments |= self._desk.agreed("generate")
        job = self._desk.worker.request("generate", **arguments, baseline=self._baseline.isChecked())
        job.progress.connect(lambda _done, _total, doing: self._outcome.setText(doing))
        job.done.connect(self.show_result)
        job.failed.connect(lambda words, _: self._fail(words, job.asks))
        job.ended.connect(lambda: self.go.setEnabled(True))

    def show_result(self, result: dict[str, Any]) -> None:
        """Put the worker's answer on the canvas."""
        folder = Path(result["folder"])
        pictures = result["pictures"]
        made = [(folder / one["image"], f"{one['candidate']}  {one['title']}", one) for one in pictures]
        first, last = made[0], made[-1]
        self._paths = (first[0], last[0])
        self._names = (first[1], last[1])
        parts = [f"{one['candidate']} {text.seconds(one['seconds'])}" for _, _, one in made]
        if len(made) > 1 and last[2]["seconds"] > 0:
            parts.append(f"{text.ratio(first[2]['seconds'] / last[2]['seconds'])} faster on this picture")
        self._outcome.setText(f"seed {result['seed']}    " + "    ".join(parts))
        self._show()

    def _fail(self, words: str, asks: str = "") -> None:
        self._outcome.setText("")
        if asks:
            self.message.say(words, "warning", (RUN_IT, lambda: self._desk.take_word(asks, self.make)))
        else:
            self.message.say(words, "error", ("Try again", self.make))

    def _on_ready(self, path: str) -> None:
        if path in {str(one) for one in self._paths}:
            self._show()

    def _show(self) -> None:
        a, b = (self._desk.pictures.get(path) for path in self._paths)
        self.canvas.set_mode("swap" if self._paths[0] == self._paths[1] else "side")
        self.canvas.show_pair(a, b, self._names)
