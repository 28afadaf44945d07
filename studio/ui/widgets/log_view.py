"""The log: appended once a batch, follows its end until one scrolls up."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

from PySide6.QtGui import QGuiApplication, QTextCharFormat, QTextCursor, QTextOption
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from studio.ui.models.run import LogLine
from studio.ui.theme import Theme
from studio.ui.widgets.labels import label

KEPT: Final = 5000
LEVELS: Final = {"All": 0, "Warnings": 1, "Errors": 2}
RANK: Final = {"worker": 0, "info": 0, "warning": 1, "error": 2}


class LogView(QWidget):
    """Level filter, search, copy; times are local."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._lines: deque[LogLine] = deque(maxlen=KEPT)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 8, 12, 8)
        column.setSpacing(8)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(label("Log", "section"))
        row.addStretch(1)
        self._level = QComboBox()
        self._level.addItems(list(LEVELS))
        self._level.setAccessibleName("Level of log lines")
        self._level.currentIndexChanged.connect(self._rebuild)
        self._find = QLineEdit()
        self._find.setPlaceholderText("Search the log")
        self._find.setAccessibleName("Search the log")
        self._find.setMaximumWidth(240)
        self._find.textChanged.connect(self._rebuild)
        copy = QPushButton("Copy")
        copy.setAccessibleName("Copy the log")
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self.text()))
        for widget in (self._level, self._find, copy):
            row.addWidget(widget)
        column.addLayout(row)
        self._view = QPlainTextEdit()
        self._view.setReadOnly(True)
        self._view.setAccessibleName("Log lines")
        self._view.setMaximumBlockCount(KEPT)
        self._view.setWordWrapMode(QTextOption.WrapMode.NoWrap)
        self._view.setTabChangesFocus(True)
        self._view.setUndoRedoEnabled(False)
        column.addWidget(self._view, 1)
        theme.changed.connect(self._restyle)
        self._restyle()

    def add(self, lines: list[LogLine]) -> None:
        """Append a batch."""
        self._lines.extend(lines)
        self._append([line for line in lines if self._wanted(line)])

    def text(self) -> str:
        return self._view.toPlainText()

    def _wanted(self, line: LogLine) -> bool:
        if RANK[line.level] < LEVELS[self._level.currentText()]:
            return False
        return self._find.text().lower() in line.text.lower()

    def _append(self, lines: list[LogLine]) -> None:
        if not lines:
            return
        bar = self._view.verticalScrollBar()
        follow = bar.value() >= bar.maximum() - 2
        cursor = QTextCursor(self._view.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.beginEditBlock()
        first = self._view.document().isEmpty()
        for line in lines[-KEPT:]:
            words = f"{time.strftime('%H:%M:%S', time.localtime(line.time))}  {line.text}"
            cursor.insertText(words if first else "\n" + words, self._formats[line.level])
            first = False
        cursor.endEditBlock()
        if follow:
            bar.setValue(bar.maximum())

    def _rebuild(self) -> None:
        self._view.clear()
        self._append([line for line in self._lines if self._wanted(line)])

    def _restyle(self) -> None:
        roles = {"info": "text", "worker": "muted", "warning": "warn", "error": "bad"}
        self._formats = {}
        for level, role in roles.items():
            made = QTextCharFormat()
            made.setForeground(self._theme.colour(role))
            self._formats[level] = made
        self._view.setFont(self._theme.fixed(11))
        self._rebuild()
