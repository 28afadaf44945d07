"""What every step has in common: a title, a place for messages, the parts it may use."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from studio.ui.actions import Commands
from studio.ui.desk import Desk, Problem
from studio.ui.journey import Journey
from studio.ui.theme import Theme
from studio.ui.widgets.labels import label
from studio.ui.widgets.message import Message


class Page(QWidget):
    """One step of the rail."""

    step = ""
    title = ""

    def __init__(self, desk: Desk, theme: Theme, commands: Commands, journey: Journey) -> None:
        super().__init__()
        self.desk, self.theme, self.commands, self.journey = desk, theme, commands, journey
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(16, 12, 16, 12)
        self.column.setSpacing(8)
        self.head = QHBoxLayout()
        self.head.setSpacing(8)
        if self.title:
            self.head.addWidget(label(self.title, "title"))
        self.column.addLayout(self.head)
        self.message = Message()
        self.column.addWidget(self.message)
        desk.problem.connect(self._on_problem)
        if self.step in desk.problems:
            self._on_problem(desk.problems[self.step])

    def heightForWidth(self, width: int) -> int:
        """The least height: a page scrolls only where it must, and never to have more room for pictures."""
        return self.column.totalMinimumHeightForWidth(width)

    def entered(self) -> None:
        """The step was opened."""

    def _on_problem(self, problem: Problem) -> None:
        if problem.step != self.step:
            return
        actions = [(problem.title, problem.action)] if problem.action is not None and problem.title else []
        self.message.say(problem.text, problem.level, *actions)
