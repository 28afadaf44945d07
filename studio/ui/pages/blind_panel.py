"""Blind choice: two unnamed pictures, Left, Right or Can't tell; the tally comes at the end."""

from __future__ import annotations

import random

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from studio.ui.blind import Answer, Session
from studio.ui.desk import Desk
from studio.ui.models.pairs import Pair
from studio.ui.theme import Theme
from studio.ui.widgets.canvas import Canvas
from studio.ui.widgets.labels import label

ANSWERS: dict[Answer, str] = {"left": "Left", "same": "Can't tell", "right": "Right"}


class BlindPanel(QWidget):
    """Keys: Left arrow, Right arrow, Down for can't tell, Backspace to take back.

    Signals:
        finished(str): all pairs were answered; the outcome as one sentence.
        voted(Pair, str): what a pair was answered with: `a`, `b`, `same`, or `withdrawn` when taken back.
    """

    finished = Signal(str)
    voted = Signal(object, str)

    def __init__(self, desk: Desk, theme: Theme) -> None:
        super().__init__()
        self._desk = desk
        self._pairs: list[Pair] = []
        self._names = ("A", "B")
        self.session: Session | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Blind choice")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        self._question = label("", "section", wrap=True)
        self._prompt = label("", "muted", wrap=True)
        column.addWidget(self._question)
        column.addWidget(self._prompt)
        self.canvas = Canvas(theme)
        self.canvas.setAccessibleName("Two unnamed pictures")
        column.addWidget(self.canvas, 1)
        row = QHBoxLayout()
        row.addStretch(1)
        self.buttons: dict[Answer, QPushButton] = {}
        for answer, title in ANSWERS.items():
            button = QPushButton(title)
            button.setMinimumWidth(140)
            button.clicked.connect(lambda *_, given=answer: self.answer(given))
            self.buttons[answer] = button
            row.addWidget(button)
        row.addStretch(1)
        self._undo = QPushButton("Take back")
        self._undo.clicked.connect(self.undo)
        self._again = QPushButton("Begin again")
        self._again.clicked.connect(lambda: self.begin(self._pairs, self._names))
        row.addWidget(self._undo)
        row.addWidget(self._again)
        column.addLayout(row)
        desk.pictures.ready.connect(lambda _: self._show())

    def begin(self, pairs: list[Pair], names: tuple[str, str], seed: int | None = None) -> None:
        """Start over; sides and order come from the seed, which the tally names."""
        self._pairs, self._names = pairs, names
        drawn = random.SystemRandom().randrange(2**31) if seed is None else seed
        self.session = Session(len(pairs), drawn) if pairs else None
        self._show()

    def answer(self, given: Answer) -> None:
        if self.session is None or self.session.current is None:
            return
        trial = self.session.current
        self.session.answer(given)
        preferred = "same" if given == "same" else "b" if (given == "left") == trial.b_left else "a"
        self.voted.emit(self._pairs[trial.row], preferred)
        self._show()
        if self.session.current is None:
            self.finished.emit(self.session.tally().verdict(*self._names))

    def undo(self) -> None:
        if self.session is not None and self.session.answers:
            self.session.undo()
            if (trial := self.session.current) is not None:
                self.voted.emit(self._pairs[trial.row], "withdrawn")
            self._show()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        given: dict[Qt.Key, Answer] = {
            Qt.Key.Key_Left: "left",
            Qt.Key.Key_Right: "right",
            Qt.Key.Key_Down: "same",
        }
        key = Qt.Key(event.key())
        if key in given:
            self.answer(given[key])
        elif key == Qt.Key.Key_Backspace:
            self.undo()
        else:
            super().keyPressEvent(event)

    def _show(self) -> None:
        session = self.session
        trial = session.current if session is not None else None
        for button in self.buttons.values():
            button.setEnabled(trial is not None)
        self._undo.setEnabled(session is not None and bool(session.answers))
        self._again.setEnabled(bool(self._pairs))
        if session is None:
            self._question.setText("Choose two candidates that have pictures of the same prompts.")
            self._prompt.setText("")
            self.canvas.show_pair(None, None)
            return
        if trial is None:
            self._question.setText(session.tally().verdict(*self._names))
            tally = session.tally()
            self._prompt.setText(
                f"{self._names[0]} {tally.a}, {self._names[1]} {tally.b}, can't tell {tally.same}. "
                f"Order and sides came from seed {session.seed}."
            )
            return
        pair = self._pairs[trial.row]
        one, two = (pair.b, pair.a) if trial.b_left else (pair.a, pair.b)
        self._question.setText(f"Which is better? {len(session.answers) + 1} of {len(session.trials)}")
        self._prompt.setText(pair.prompt)
        self.canvas.show_pair(self._desk.pictures.get(one), self._desk.pictures.get(two), ("Left", "Right"))
