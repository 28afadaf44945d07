"""The dialog that makes the engines' environment: at most one question, then a bar."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Final

from PySide6.QtCore import QElapsedTimer, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QGuiApplication
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QDialog,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QRadioButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from studio.ui.bridge import Job, Worker
from studio.ui.collect import CollectWheels
from studio.ui.widgets.labels import label

WORDS: Final = {
    "missing": ("Set up the engines", "Set up"),
    "unfinished": ("Go on setting up", "Go on"),
    "outdated": ("Update the engines", "Update"),
    "damaged": ("Repair the engines", "Repair"),
    "ready": ("Repair or move the engines", "Repair"),
}
"""State to title and button."""
LOG_LINES: Final = 2000
TORCH: Final = {
    "auto": "the build for the driver that is here",
    "cpu": "without a GPU (cpu)",
    "cu130": "CUDA 13.0 (cu130)",
    "cu128": "CUDA 12.8 (cu128)",
    "cu126": "CUDA 12.6 (cu126)",
}
"""As `pareto-studio setup --torch` takes it, to words.

A wheelhouse holds one build, and a Mac has only one: there is nothing to choose then.
"""


class FirstRun(QDialog):
    """Asks for the folder, then shows progress; accepted when the environment is ready.

    Signals:
        made(str): the environment's Python.
    """

    made = Signal(str)

    def __init__(self, setup: Worker, state: dict[str, Any], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._setup = setup
        self._job: Job | None = None
        self._fresh = state["condition"] in {"damaged", "ready"}
        self._final = False
        self._fits = False
        self._clock = QElapsedTimer()
        self._space_later = QTimer(self, singleShot=True, interval=200)
        self._space_later.timeout.connect(self._ask_space)
        self.setMinimumWidth(600)
        title, self._verb = WORDS[state["condition"]]
        self.setWindowTitle("Pareto Studio")
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 24, 24, 16)
        column.setSpacing(12)
        column.addWidget(label(title, "title"))
        self._stack = QStackedWidget()
        self._stack.addWidget(self._question(state))
        self._stack.addWidget(self._work())
        column.addWidget(self._stack, 1)
        column.addLayout(self._buttons())
        setup.said.connect(self._on_line)
        setup.lost.connect(self._on_lost)
        self._ask_space()
        setup.request("wheelhouse").done.connect(self._on_wheelhouse)
        self.go.setFocus()

    # -- building -------------------------------------------------------------------------------

    def _question(self, state: dict[str, Any]) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        why = (
            "PyTorch and the engines are fetched once, in the build that fits this machine. "
            "They go into a folder of their own; your runs are kept apart from it."
        )
        first = state["condition"] in {"missing", "ready"}
        column.addWidget(label(why if first else state["text"], "muted", wrap=True))
        grid = QGridLayout()
        grid.setHorizontalSpacing(8)
        self.folder = QLineEdit(state["folder"])
        self.folder.setAccessibleName("Folder for the engines")
        self.folder.textChanged.connect(lambda _: self._space_later.start())
        choose = QPushButton("Choose…")
        choose.setAccessibleName("Choose the folder for the engines")
        choose.clicked.connect(lambda: self._choose(self.folder))
        self.space = label("", "small")
        grid.addWidget(label("Folder"), 0, 0)
        grid.addWidget(self.folder, 0, 1)
        grid.addWidget(choose, 0, 2)
        grid.addWidget(self.space, 1, 1, 1, 2)
        self.network = QRadioButton("Fetch from the network")
        self.network.setChecked(True)
        self.offline = QRadioButton("Install from a folder, without a network")
        self._source = QButtonGroup(page)
        for button in (self.network, self.offline):
            self._source.addButton(button)
        self.wheelhouse = QLineEdit()
        self.wheelhouse.setPlaceholderText("A wheelhouse: wheels and their SHA256SUMS")
        self.wheelhouse.setAccessibleName("Folder to install from")
        self.wheelhouse.textChanged.connect(lambda _: self._space_later.start())
        browse = QPushButton("Choose…")
        browse.setAccessibleName("Choose the folder to install from")
        browse.clicked.connect(lambda: self._choose(self.wheelhouse))
        self.proxy = QLineEdit()
        self.proxy.setPlaceholderText("none, or as the system says")
        self.proxy.setToolTip("http://name:password@host:port")
        self.proxy.setAccessibleName("Proxy")
        grid.addWidget(label("From"), 2, 0)
        grid.addWidget(self.network, 2, 1, 1, 2)
        grid.addWidget(self.offline, 3, 1, 1, 2)
        self._offline_row = (self.wheelhouse, browse)
        grid.addWidget(self.wheelhouse, 4, 1)
        grid.addWidget(browse, 4, 2)
        self.found = label("", "small", wrap=True)
        grid.addWidget(self.found, 5, 1, 1, 2)
        self.torch = QComboBox()
        self.torch.setAccessibleName("Build of PyTorch")
        self.torch.setToolTip("Name one where the driver is not found, or is to be installed later")
        for name, words in TORCH.items():
            self.torch.addItem(words, name)
        through, build = label("Proxy"), label("PyTorch")
        self._online_row: tuple[QWidget, ...] = (through, self.proxy)
        if sys.platform != "darwin":
            self._online_row += (build, self.torch)
            grid.addWidget(build, 7, 0)
            grid.addWidget(self.torch, 7, 1, 1, 2)
        grid.addWidget(through, 6, 0)
        grid.addWidget(self.proxy, 6, 1, 1, 2)
        self.network.toggled.connect(self._show_source)
        column.addLayout(grid)
        column.addStretch(1)
        self._show_source()
        return page

    def _work(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        self.doing = label("", wrap=True)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        self.bar.setAccessibleName("Progress of the setup")
        self.elapsed = label("", "small")
        self.problem = label("", "bad", wrap=True, select=True)
        self.problem.hide()
        self.log = QPlainTextEdit(readOnly=True)
        self.log.setMaximumBlockCount(LOG_LINES)
        self.log.setAccessibleName("Log of the setup")
        self.log.hide()
        for widget in (self.doing, self.bar, self.elapsed, self.problem):
            column.addWidget(widget)
        column.addWidget(self.log, 1)
        column.addStretch()
        self._second = QTimer(self, interval=1000)
        self._second.timeout.connect(self._show_elapsed)
        return page

    def _buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.show_log = QPushButton("Log")
        self.show_log.setCheckable(True)
        self.show_log.toggled.connect(self._toggle_log)
        self.copy = QPushButton("Copy log")
        self.copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self.log.toPlainText()))
        self.repair = QPushButton("Repair")
        self.repair.setToolTip("Remove what was fetched and fetch everything anew")
        self.repair.clicked.connect(self._start_anew)
        self.change = QPushButton("Change…")
        self.change.setToolTip("Choose another folder or source")
        self.change.clicked.connect(self._show_question)
        self.stop = QPushButton("Quit")
        self.stop.clicked.connect(self._on_stop)
        self.go = QPushButton(self._verb)
        self.go.setProperty("role", "primary")
        self.go.setDefault(True)
        self.go.clicked.connect(self.start)
        for button in (self.show_log, self.copy):
            row.addWidget(button)
            button.hide()
        self.collect = QPushButton("Collect for another machine…")
        self.collect.setToolTip("Fill a folder for a machine without a network")
        self.collect.clicked.connect(self._collect)
        row.addWidget(self.collect)
        row.addStretch(1)
        for button in (self.repair, self.change, self.stop, self.go):
            row.addWidget(button)
        self.repair.hide()
        self.change.hide()
        return row

    # -- the question ---------------------------------------------------------------------------

    def _choose(self, field: QLineEdit) -> None:
        found = QFileDialog.getExistingDirectory(self, "Choose a folder", field.text() or str(Path.home()))
        if found:
            if field is self.folder and any(Path(found).iterdir()) and not found.endswith("backend"):
                # Never straight into a folder that holds other things.
                found = str(Path(found) / "pareto-studio-backend")
            field.setText(found)

    def _show_source(self) -> None:
        offline = self.offline.isChecked()
        for field in self._offline_row:
            field.setVisible(offline)
        for part in self._online_row:
            part.setVisible(not offline)
        self.found.setVisible(bool(self.found.text()) and (offline or not self._fits))
        self._space_later.start()
        # Once the layout knows of the rows: a dialog that is open does not grow by itself.
        QTimer.singleShot(0, self, self._grow)

    def _grow(self) -> None:
        self.resize(self.width(), max(self.height(), self.sizeHint().height()))

    def _ask_space(self) -> None:
        wheels = self.wheelhouse.text().strip() if self.offline.isChecked() else ""
        job = self._setup.request("space", folder=self.folder.text().strip(), wheelhouse=wheels)
        job.done.connect(self._on_space)
        job.failed.connect(self._on_no_space)

    def _on_space(self, result: dict[str, Any]) -> None:
        needed, free = result["needed"] / 1e9, result["free"] / 1e9
        enough = free >= needed
        text = f"about {needed:.0f} GB needed, {free:.0f} GB free"
        self.space.setText(text if enough else f"{text}: choose a folder on another disk")
        self.space.setProperty("role", "small" if enough else "bad")
        self.space.style().unpolish(self.space)
        self.space.style().polish(self.space)

    def _on_wheelhouse(self, result: dict[str, Any]) -> None:
        """Offer the wheelhouse that is at hand, unless somebody was quicker."""
        folder, fits = str(result["folder"]), bool(result["fits"])
        if not folder or self.wheelhouse.text() or self.offline.isChecked():
            return
        self.wheelhouse.setText(folder)
        self._fits = fits
        self.found.setText(
            "Found on this machine: everything is there, no network is needed."
            if fits
            else f"{folder} has the packages of another version. Put these there to do without a network."
        )
        self.offline.setChecked(fits)
        self._show_source()

    def _on_no_space(self, _text: str, _detail: str) -> None:
        self.space.setText("")

    def _collect(self) -> None:
        CollectWheels(self._setup, self.proxy.text().strip(), self).open()

    # -- working --------------------------------------------------------------------------------

    def start(self) -> None:
        """Ask for the setup with what the fields say."""
        offline = self.offline.isChecked()
        if offline and not self.wheelhouse.text().strip():
            self._choose(self.wheelhouse)
            if not self.wheelhouse.text().strip():
                return
        self._show_working()
        job = self._setup.request(
            "make",
            folder=self.folder.text().strip(),
            wheelhouse=self.wheelhouse.text().strip() if offline else "",
            proxy="" if offline else self.proxy.text().strip(),
            torch="auto" if offline else self.torch.currentData(),
            fresh=self._fresh,
        )
        self._job = job
        job.progress.connect(self._on_progress)
        job.done.connect(self._on_done)
        job.failed.connect(self._on_failed)

    def _start_anew(self) -> None:
        self._fresh = True
        self.start()

    def _show_working(self) -> None:
        self._stack.setCurrentIndex(1)
        self.problem.hide()
        self.doing.show()
        self.bar.show()
        self.bar.setRange(0, 0)
        self.doing.setText("Starting")
        self._clock.start()
        self._second.start()
        self._show_elapsed()
        for button in (self.repair, self.change, self.go, self.copy):
            button.hide()
        self.show_log.show()
        self.collect.hide()
        self.stop.setText("Stop")
        self.stop.setEnabled(True)

    def _show_question(self) -> None:
        self._stack.setCurrentIndex(0)
        for button in (self.repair, self.change, self.show_log, self.copy):
            button.hide()
        self.go.setText(self._verb)
        self.go.show()
        self.collect.show()
        self._ask_space()

    def _show_elapsed(self) -> None:
        seconds = self._clock.elapsed() // 1000
        self.elapsed.setText(time.strftime("%M:%S" if seconds < 3600 else "%H:%M:%S", time.gmtime(seconds)))

    def _on_progress(self, done: int, total: int, doing: str) -> None:
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.doing.setText(doing)

    def _on_done(self, result: dict[str, Any]) -> None:
        self._job = None
        self._second.stop()
        if result.get("condition") != "ready":
            self._show_failure(str(result.get("text", "")))
            return
        self.made.emit(str(result["python"]))
        self.accept()

    def _on_failed(self, text: str, detail: str) -> None:
        self._job = None
        self._second.stop()
        self._final = detail == "final"
        if text == "Cancelled.":
            text = "Stopped. What was fetched is kept; go on when you like."
        self._show_failure(text)

    def _show_failure(self, text: str) -> None:
        self.problem.setText(text)
        self.problem.show()
        self.problem.setAccessibleName(f"Problem: {text}")
        self.bar.hide()
        self.doing.hide()
        self.go.setText("Try again")
        self.stop.setText("Quit")
        self.stop.setEnabled(True)
        self.go.setVisible(not self._final)
        for button in (self.change, self.repair, self.show_log):
            button.show()
        self.copy.setVisible(self.show_log.isChecked())
        self._fresh = False

    def _on_line(self, line: str) -> None:
        self.log.appendPlainText(line)

    def _on_lost(self, text: str) -> None:
        if self._job is None:
            self._show_working()
        self._on_failed(text, "")

    def _toggle_log(self, shown: bool) -> None:
        self.log.setVisible(shown)
        self.copy.setVisible(shown)
        if shown:
            self.resize(max(self.width(), 720), max(self.height(), 460))

    # -- leaving --------------------------------------------------------------------------------

    def _on_stop(self) -> None:
        if self._job is None:
            self.reject()
            return
        self.stop.setEnabled(False)
        self.doing.setText("Stopping; what was fetched is kept")
        self._setup.cancel(self._job)

    def done(self, result: int) -> None:
        # Asked after this, the question of space would start the setup's process again.
        self._space_later.stop()
        super().done(result)

    def closeEvent(self, event: QCloseEvent) -> None:
        if self._job is not None:
            self._setup.cancel(self._job)
        super().closeEvent(event)
