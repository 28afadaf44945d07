"""A sentence in place, with the next action as a button."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from studio.ui.widgets.labels import label

Level = Literal["info", "warning", "error"]
WORDS: dict[Level, str] = {"info": "Note", "warning": "Attention", "error": "Problem"}


class Message(QFrame):
    """Hidden until it has something to say."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "message")
        self.setProperty("level", "info")
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 8, 8, 8)
        row.setSpacing(8)
        self._word = label("", "muted")
        self._text = label("", wrap=True, select=True)
        row.addWidget(self._word)
        row.addWidget(self._text, 1)
        self._buttons = QHBoxLayout()
        self._buttons.setSpacing(8)
        row.addLayout(self._buttons)
        self._close = QPushButton("Dismiss")
        self._close.setProperty("role", "flat")
        self._close.setAccessibleName("Dismiss message")
        self._close.clicked.connect(self.hide)
        row.addWidget(self._close)
        self.hide()

    @property
    def text(self) -> str:
        return self._text.text()

    @property
    def buttons(self) -> list[QPushButton]:
        """The actions offered now, the first one first."""
        items = (self._buttons.itemAt(at) for at in range(self._buttons.count()))
        widgets = (item.widget() for item in items if item is not None)
        return [widget for widget in widgets if isinstance(widget, QPushButton)]

    def say(
        self,
        text: str,
        level: Level = "info",
        *actions: tuple[str, Callable[[], object]],
        lasting: bool = False,
    ) -> None:
        """Show a sentence; each action is a button that also puts the message away."""
        self._text.setText(text)
        self._word.setText(WORDS[level])
        self.setProperty("level", level)
        self.style().unpolish(self)
        self.style().polish(self)
        for button in self.buttons:
            self._buttons.removeWidget(button)
            button.hide()
            button.deleteLater()
        for title, action in actions:
            button = QPushButton(title)
            button.clicked.connect(self.hide)
            button.clicked.connect(lambda *_, act=action: act())
            self._buttons.addWidget(button)
        self._close.setVisible(not lasting)
        self.setAccessibleName(f"{WORDS[level]}: {text}")
        self.show()

    def clear(self) -> None:
        self.hide()


class Empty(QWidget):
    """A step that has nothing yet: what it needs, and the button that gets it."""

    def __init__(self, title: str, text: str, button: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setSpacing(12)
        column.addStretch(2)
        self._title = label(title, "title")
        self._text: QLabel = label(text, "muted", wrap=True)
        self._text.setMaximumWidth(520)
        column.addWidget(self._title)
        column.addWidget(self._text)
        self.button = QPushButton(button)
        self.button.setProperty("role", "primary")
        if not button:
            self.button.hide()
        row = QHBoxLayout()
        row.addWidget(self.button)
        row.addStretch(1)
        column.addLayout(row)
        column.addStretch(3)
        column.setContentsMargins(32, 16, 32, 16)

    def describe(self, title: str, text: str) -> None:
        self._title.setText(title)
        self._text.setText(text)
