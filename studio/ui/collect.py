"""The dialog that collects a wheelhouse for a machine without a network: which machine, then a bar."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from studio.setup.collect import PYTHONS, here
from studio.ui.bridge import Job, Worker
from studio.ui.widgets.labels import label

SYSTEMS: Final = {"linux": "Linux", "windows": "Windows", "macos": "macOS, Apple silicon"}
TORCH: Final = {
    "linux": {"auto": "with CUDA 13", "cpu": "without a GPU (cpu)"},
    "windows": {
        "auto": "without a GPU",
        "cu130": "CUDA 13.0 (cu130)",
        "cu128": "CUDA 12.8 (cu128)",
        "cu126": "CUDA 12.6 (cu126)",
    },
    "macos": {"auto": "the one build that there is"},
}
"""By system, as `pareto-studio setup --collect --torch` takes it, to words."""


class CollectWheels(QDialog):
    """Asks for the machine and a folder, and has the setup's process fill it."""

    def __init__(self, setup: Worker, proxy: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._setup, self._proxy = setup, proxy
        self._job: Job | None = None
        self.setWindowTitle("Pareto Studio")
        self.setMinimumWidth(560)
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 24, 24, 16)
        column.setSpacing(12)
        column.addWidget(label("Collect for another machine", "title"))
        why = (
            "What a machine without a network needs goes into a folder. Take it there on a stick or a share "
            "and choose Install from a folder. Python itself is not in it: that machine must have the one "
            "that is named here."
        )
        column.addWidget(label(why, "muted", wrap=True))
        column.addLayout(self._fields())
        self.doing = label("", wrap=True, select=True)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        self.bar.setAccessibleName("Progress of collecting")
        self.bar.hide()
        self.problem = label("", "bad", wrap=True, select=True)
        self.problem.hide()
        for widget in (self.doing, self.bar, self.problem):
            column.addWidget(widget)
        column.addStretch(1)
        row = QHBoxLayout()
        row.addStretch(1)
        self.stop = QPushButton("Close")
        self.stop.clicked.connect(self._on_stop)
        self.go = QPushButton("Collect")
        self.go.setProperty("role", "primary")
        self.go.setDefault(True)
        self.go.clicked.connect(self.start)
        row.addWidget(self.stop)
        row.addWidget(self.go)
        column.addLayout(row)
        setup.lost.connect(self._on_lost)

    def _fields(self) -> QFormLayout:
        form = QFormLayout()
        self.system, self.python, self.torch = QComboBox(), QComboBox(), QComboBox()
        for field, name in ((self.system, "System"), (self.python, "Python"), (self.torch, "PyTorch")):
            field.setAccessibleName(f"{name} of the other machine")
        for system, words in SYSTEMS.items():
            self.system.addItem(words, system)
        self.python.addItem("as on this machine", "")
        for version in PYTHONS:
            self.python.addItem(version, version)
        self.folder = QLineEdit()
        self.folder.setAccessibleName("Folder for what is collected")
        choose = QPushButton("Choose…")
        choose.setAccessibleName("Choose the folder for what is collected")
        choose.clicked.connect(self._choose)
        row = QHBoxLayout()
        row.addWidget(self.folder)
        row.addWidget(choose)
        form.addRow("System", self.system)
        form.addRow("Python", self.python)
        form.addRow("PyTorch", self.torch)
        form.addRow("Folder", row)
        self._asked = (self.system, self.python, self.torch, self.folder, choose)
        self.system.currentIndexChanged.connect(self._show_builds)
        self.system.setCurrentIndex(self.system.findData(here()))
        self._show_builds()
        return form

    def _show_builds(self) -> None:
        self.torch.clear()
        for build, words in TORCH[self.system.currentData()].items():
            self.torch.addItem(words, build)

    def _choose(self) -> None:
        found = QFileDialog.getExistingDirectory(
            self, "Choose a folder", self.folder.text() or str(Path.home())
        )
        if found:
            self.folder.setText(
                str(Path(found) / "pareto-studio-wheels") if any(Path(found).iterdir()) else found
            )

    def start(self) -> None:
        """Ask for what the fields say."""
        if not self.folder.text().strip():
            self._choose()
            if not self.folder.text().strip():
                return
        self._show_working(True)
        self.doing.setText("Starting")
        self.bar.setRange(0, 0)
        job = self._setup.request(
            "collect",
            folder=self.folder.text().strip(),
            system=self.system.currentData(),
            python=self.python.currentData(),
            torch=self.torch.currentData(),
            proxy=self._proxy,
        )
        self._job = job
        job.progress.connect(self._on_progress)
        job.done.connect(self._on_done)
        job.failed.connect(self._on_failed)

    def _show_working(self, working: bool) -> None:
        for field in self._asked:
            field.setEnabled(not working)
        self.bar.setVisible(working)
        self.go.setVisible(not working)
        self.problem.hide()
        self.stop.setText("Stop" if working else "Close")
        self.stop.setEnabled(True)

    def _on_progress(self, done: int, total: int, doing: str) -> None:
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.doing.setText(doing)

    def _on_done(self, result: dict[str, Any]) -> None:
        self._job = None
        self._show_working(False)
        self.doing.setText(str(result["text"]))

    def _on_failed(self, text: str, _detail: str) -> None:
        self._job = None
        self._show_working(False)
        self.doing.setText("")
        if text == "Cancelled.":
            text = "Stopped. What was fetched is kept; go on when you like."
        self.problem.setText(text)
        self.problem.setAccessibleName(f"Problem: {text}")
        self.problem.show()

    def _on_lost(self, text: str) -> None:
        if self._job is not None:
            self._on_failed(text, "")

    def _on_stop(self) -> None:
        if self._job is None:
            self.reject()
            return
        self.stop.setEnabled(False)
        self.doing.setText("Stopping; what was fetched is kept")
        self._setup.cancel(self._job)

    def done(self, result: int) -> None:
        # Escape ends a dialog too, and without a closeEvent.
        if self._job is not None:
            self._setup.cancel(self._job)
        super().done(result)
