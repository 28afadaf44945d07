"""What changed between the package on show and another one: recipe, numbers, engines, files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QDialog,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QProgressBar,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from studio.ui import text
from studio.ui.bridge import Job
from studio.ui.desk import Desk
from studio.ui.widgets.file_field import FileField
from studio.ui.widgets.labels import label, plain_line
from studio.ui.widgets.message import Message

PACKAGES: Final = "Packages (*.pareto *.zip);;All files (*)"
_PARTS: Final = {
    "recipe": "Recipe",
    "numbers": "Numbers",
    "facts": "Facts",
    "variants": "Engines",
    "wheels": "Wheels",
}
"""Of the result of `diff`, what has a value on each side."""
_FILES: Final = {"added": "only in the other", "removed": "only in this one", "changed": "changed"}


class DifferenceDialog(QDialog):
    """Takes another package and shows the worker's `diff` of the two."""

    def __init__(self, desk: Desk, package: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Compare packages")
        self.resize(820, 560)
        self._desk, self._package = desk, package
        self._job: Job | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 16, 20, 16)
        column.setSpacing(8)
        column.addWidget(label("What changed between two packages", "section"))
        self.other = FileField(
            "Other package", PACKAGES, folder=True, placeholder="an archive, or a package's folder"
        )
        self.other.changed.connect(self._show_ready)
        own = plain_line("This package")
        own.setText(str(package))
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("This one", own)
        form.addRow("The other", self.other)
        column.addLayout(form)
        self.message = Message()
        column.addWidget(self.message)
        self._bar = QProgressBar()
        self._bar.setAccessibleName("Progress of the comparison")
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(6)
        self._bar.setRange(0, 0)
        self._bar.hide()
        column.addWidget(self._bar)
        self.summary = label("Both are verified first; nothing in them is run.", "muted", wrap=True)
        column.addWidget(self.summary)
        self.tree = QTreeWidget()
        self.tree.setAccessibleName("What differs")
        self.tree.setHeaderLabels(["", "This one", "The other"])
        self.tree.setUniformRowHeights(True)
        self.tree.setRootIsDecorated(False)
        self.tree.header().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        column.addWidget(self.tree, 1)
        row = QHBoxLayout()
        row.addStretch(1)
        close = QPushButton("Close")
        close.clicked.connect(self.reject)
        self.go = QPushButton("Compare")
        self.go.setProperty("role", "primary")
        self.go.setDefault(True)
        self.go.clicked.connect(self.start)
        row.addWidget(close)
        row.addWidget(self.go)
        column.addLayout(row)
        self._show_ready()
        self.other.setFocus()

    def start(self) -> None:
        """Ask the worker."""
        self.message.clear()
        self.tree.clear()
        self.summary.setText("Checking every byte of both…")
        self._job = self._desk.worker.request("diff", a=str(self._package), b=self.other.path)
        self._job.done.connect(self.show_difference)
        self._job.failed.connect(self._on_failed)
        self._job.ended.connect(self._on_ended)
        self._show_ready()

    def show_difference(self, result: dict[str, Any]) -> None:
        """The result of `diff`."""
        sides = [result[side] for side in ("a", "b")]
        names = [f"{one['name']}, {text.size(one['bytes'])}, {str(one['id'])[:19]}" for one in sides]
        self.summary.setText(
            f"They are the same: {names[0]}." if result["same"] else f"{names[0]}\n{names[1]}"
        )
        for part, title in _PARTS.items():
            self._section(title, [(one["name"], one["a"], one["b"]) for one in result[part]])
        self._section("Files", list(_files(result)))

    def _section(self, title: str, rows: list[tuple[str, Any, Any]]) -> None:
        if not rows:
            return
        top = QTreeWidgetItem([title])
        bold = top.font(0)
        bold.setBold(True)
        top.setFont(0, bold)
        self.tree.addTopLevelItem(top)
        for name, a, b in rows:
            item = QTreeWidgetItem([name, *map(_shown, (a, b))])
            for at in range(3):
                item.setToolTip(at, item.text(at))
            top.addChild(item)
        top.setExpanded(True)

    def _on_failed(self, sentence: str, _detail: str) -> None:
        self.summary.setText("")
        self.message.say(sentence, "error")

    def _on_ended(self) -> None:
        self._job = None
        self._show_ready()

    def _show_ready(self) -> None:
        self._bar.setVisible(self._job is not None)
        self.go.setEnabled(bool(self.other.path) and self._job is None)

    def done(self, result: int) -> None:
        if self._job is not None:
            self._desk.worker.cancel(self._job)
        super().done(result)


def _files(result: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for part, words in _FILES.items():
        for name in result[part]:
            yield name, None if part == "added" else words, None if part == "removed" else words


def _shown(value: Any) -> str:
    """A value of the manifest in one line; `–` where a package does not have it."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items()) or "on"
    return str(value)
