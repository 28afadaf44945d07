"""What the cache holds on this disk, and emptying it."""

from __future__ import annotations

from functools import partial
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QGridLayout,
    QMessageBox,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from studio.ui import text
from studio.ui.desk import Desk
from studio.ui.widgets.labels import label

STEP = "model"
"""On which a failure is told."""


class SpaceDialog(QDialog):
    """A row for each kind; the worker looks and empties, between two candidates of a run."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Space on disk")
        self.resize(760, 480)
        self.desk = desk
        self.kinds: list[dict[str, Any]] = []
        self.buttons: dict[str, QPushButton] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 16, 20, 16)
        column.setSpacing(12)
        column.addWidget(label("Space on disk", "title"))
        column.addWidget(
            label(
                "Everything here can be made or fetched again. Runs, packages and settings lie elsewhere.",
                "muted",
                wrap=True,
            )
        )
        self._rows = QGridLayout()
        self._rows.setHorizontalSpacing(16)
        self._rows.setVerticalSpacing(4)
        self._rows.setColumnStretch(0, 1)
        inside = QWidget()
        inside.setLayout(self._rows)
        self._rows.setContentsMargins(0, 0, 8, 0)
        area = QScrollArea()  # which gives wrapped lines the height that they need
        area.setWidgetResizable(True)
        area.setAccessibleName("What the cache holds")
        area.setWidget(inside)
        column.addWidget(area, 1)
        self._place = label("Looking…", "muted", wrap=True, select=True)
        column.addWidget(self._place)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        column.addWidget(buttons)
        self.look()

    def look(self) -> None:
        """Ask the worker what is there."""
        self.desk.ask(STEP, "space").done.connect(self.show_space)

    def show_space(self, result: dict[str, Any]) -> None:
        """The answer of `space` or `empty`."""
        self.kinds = result["kinds"]
        while self._rows.count():
            item = self._rows.takeAt(0)
            widget = item.widget() if item is not None else None
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self.buttons = {}
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for at, one in enumerate(self.kinds):
            row = 2 * at
            self._rows.addWidget(label(one["title"], "section"), row, 0)
            self._rows.addWidget(label(text.size(one["bytes"])), row, 1, right)
            button = QPushButton("Empty…")
            button.setAccessibleName(f"Empty {one['title']}")
            button.setEnabled(one["files"] > 0)
            button.clicked.connect(partial(self._ask, one))
            self.buttons[one["name"]] = button
            self._rows.addWidget(button, row, 2)
            self._rows.addWidget(label(one["loses"], "muted", wrap=True), row + 1, 0, 1, 3)
        self._rows.setRowStretch(2 * len(self.kinds), 1)
        freed = f"{text.size(result['freed'])} were freed.  " if "freed" in result else ""
        self._place.setText(f"{freed}{result['folder']}  ·  {text.size(result['free'])} free there")

    def empty(self, kind: dict[str, Any]) -> None:
        """Empty what the user agreed to."""
        for button in self.buttons.values():
            button.setEnabled(False)
        running = self.desk.run.phase == "running"
        self._place.setText(
            "Emptying as soon as the candidate in flight is done…" if running else "Emptying…"
        )
        job = self.desk.ask(STEP, "empty", partial(self.empty, kind), kinds=[kind["name"]])
        job.done.connect(self.show_space)
        job.failed.connect(self._failed)

    def _failed(self, sentence: str, _detail: str) -> None:
        self.look()
        QMessageBox.warning(self, "Not emptied", sentence)

    def _ask(self, kind: dict[str, Any]) -> None:
        box = QMessageBox(self)
        box.setWindowTitle("Empty it?")
        box.setText(f"{kind['title']}: {text.size(kind['bytes'])}")
        box.setInformativeText(kind["loses"])
        go = box.addButton("Empty", QMessageBox.ButtonRole.AcceptRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.exec()
        if box.clickedButton() is go:
            self.empty(kind)
