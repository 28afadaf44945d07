"""Device: every target with its state, and what is missing where it is missing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QButtonGroup,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from studio.record.described import EngineState, TargetState
from studio.ui import text
from studio.ui.actions import Commands
from studio.ui.desk import Desk
from studio.ui.journey import Journey
from studio.ui.pages.metrics_panel import MetricsPanel
from studio.ui.pages.page import Page
from studio.ui.pages.workers_row import WorkersRow
from studio.ui.theme import Theme
from studio.ui.widgets.labels import label, plain_line
from studio.ui.widgets.message import Empty

STATES = {
    "ready": ("✓ ready", "good"),
    "build_only": ("◐ build only", "warn"),
    "missing": ("○ missing", "muted"),
}


class TargetRow(QFrame):
    """One target.

    Signals:
        chosen(str)
    """

    chosen = Signal(str)

    def __init__(self, target: TargetState, *, is_chosen: bool) -> None:
        super().__init__()
        self.setProperty("role", "card")
        self.target = target
        grid = QGridLayout(self)
        grid.setContentsMargins(16, 10, 12, 10)
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(2)
        self.name = label(target.name, "section")
        grid.addWidget(self.name, 0, 0)
        grid.addWidget(label(target.engine, "muted"), 1, 0)
        word, role = STATES[target.state]
        grid.addWidget(label(word, role), 0, 1)
        grid.addWidget(label(target.reason, "muted", wrap=True), 1, 1)
        peaks = [
            f"{text.number(value)}{text.THIN}{unit}"
            for value, unit in ((target.gflops, "GFLOP/s"), (target.gbytes, "GB/s"))
            if value is not None
        ]
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        grid.addWidget(label(peaks[0] if peaks else ""), 0, 2, right)
        grid.addWidget(label(peaks[1] if len(peaks) > 1 else "", "muted"), 1, 2, right)
        self.use = QPushButton("Chosen" if is_chosen else "Use")
        self.use.setCheckable(True)
        self.use.setChecked(is_chosen)
        self.use.setMinimumWidth(88)
        self.use.setAccessibleName(f"Use {target.name}")
        self.use.setEnabled(target.state == "ready")
        if target.state == "build_only":
            self.use.setToolTip(
                "Nothing can be measured on it here: optimise on a device that is ready, then tick "
                f"{target.name} on the Export step to put engines for it into the package too"
            )
        self.use.clicked.connect(lambda: self.chosen.emit(target.id))
        grid.addWidget(self.use, 0, 3, 2, 1)
        grid.setColumnMinimumWidth(2, 100)
        grid.setColumnStretch(1, 1)
        if target.install:
            grid.addLayout(_install_line(target.install, target.name), 2, 1, 1, 3)
        lacking = groupby(target.lacking(), lambda one: one.install)
        for at, (install, engines) in enumerate(lacking, 3):
            grid.addLayout(_engines(tuple(engines), install), at, 1, 1, 3)

    def keep_for_name(self, width: int) -> None:
        """Give the name's column `width` px, that the columns of all rows stand under each other."""
        self.name.setMinimumWidth(width)


def _engines(engines: Sequence[EngineState], install: str) -> QVBoxLayout:
    """What engines of a target lack, a line each, and under them what installs it, where something does."""
    lines = QVBoxLayout()
    lines.setContentsMargins(0, 2, 0, 0)
    lines.setSpacing(0)
    for engine in engines:
        mark = STATES[engine.state][0].partition(" ")[0]
        lines.addWidget(label(f"{mark} {engine.words}", "small", wrap=True))
    if install:
        lines.addLayout(_install_line(install, ", ".join(engine.title for engine in engines)))
    return lines


def _install_line(install: str, whose: str) -> QHBoxLayout:
    """A line for a terminal, as long as it may be, and a button that copies it."""
    row = QHBoxLayout()
    line = plain_line(f"How to install {whose}")
    line.setText(install)
    row.addWidget(line, 1)
    copy = QPushButton("Copy")
    copy.setProperty("role", "flat")
    copy.setAccessibleName(f"Copy how to install {whose}")
    copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(install))
    row.addWidget(copy)
    return row


class DevicePage(Page):
    """Second step."""

    step = "device"
    title = "Device"

    def __init__(self, desk: Desk, theme: Theme, commands: Commands, journey: Journey) -> None:
        super().__init__(desk, theme, commands, journey)
        self._machine = label("", "muted")
        self.head.addSpacing(8)
        self.head.addWidget(self._machine, 1)
        self._look = QPushButton("Look again")
        self._look.setToolTip("Probe and measure this machine again")
        self._look.clicked.connect(desk.refresh_devices)
        self.head.addWidget(self._look)
        self._next = QPushButton("Continue to Evolve")
        self._next.setProperty("role", "primary")
        self._next.clicked.connect(lambda: desk.step_wanted.emit("evolve"))
        self.head.addWidget(self._next)
        self._empty = Empty(
            "Nothing measured yet",
            "The worker probes every engine and measures what this machine can do; it takes a few seconds.",
            "Look at this machine",
        )
        self._empty.button.clicked.connect(desk.refresh_devices)
        self.column.addWidget(self._empty, 1)
        self._area = QScrollArea()
        self._area.setWidgetResizable(True)
        self._area.setAccessibleName("Devices")
        inside = QWidget()
        self._list = QVBoxLayout(inside)
        self._list.setContentsMargins(0, 0, 8, 0)
        self._list.setSpacing(8)
        self._area.setWidget(inside)
        self.column.addWidget(self._area, 1)
        self._group = QButtonGroup(self)
        self.rows: list[TargetRow] = []
        self.metrics = MetricsPanel(desk)
        self.column.addWidget(self.metrics)
        self.workers = WorkersRow(desk)
        self.column.addWidget(self.workers)
        desk.targets_changed.connect(self._show)
        desk.busy_changed.connect(self._show_busy)
        self._show()
        self._show_busy()

    def entered(self) -> None:
        if not self.desk.targets and not self.desk.asking_devices and "device" not in self.desk.problems:
            self.desk.refresh_devices()
        self.metrics.look()

    def _show(self) -> None:
        while self._list.count():
            item = self._list.takeAt(0)
            widget = item.widget() if item is not None else None
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        order = {"ready": 0, "build_only": 1, "missing": 2}
        self.rows = []
        for target in sorted(self.desk.targets, key=lambda one: order[one.state]):
            row = TargetRow(target, is_chosen=target.id == self.desk.sitting.settings.target)
            row.chosen.connect(self.desk.choose_target)
            self._group.addButton(row.use)
            self._list.addWidget(row)
            self.rows.append(row)
        widest = max((row.name.sizeHint().width() for row in self.rows), default=0)
        for row in self.rows:
            row.keep_for_name(widest)
        self._list.addStretch(1)
        machine = self.desk.machine
        parts = [str(machine[name]) for name in ("processor", "system") if machine.get(name)]
        if isinstance(machine.get("cores"), int):
            parts.insert(1, f"{machine['cores']} cores")
        if isinstance(machine.get("memory"), int | float):
            parts.insert(2, text.size(machine["memory"]))
        self._machine.setText("  ·  ".join(parts))
        self._empty.setVisible(not self.desk.targets)
        self._area.setVisible(bool(self.desk.targets))

    def _show_busy(self) -> None:
        asking = self.desk.asking_devices
        self._look.setEnabled(not asking)
        self._empty.button.setEnabled(not asking)
        self._empty.describe(
            "Looking at this machine…" if asking else "Nothing measured yet",
            "The worker probes every engine and measures what this machine can do; it takes a few seconds.",
        )
        self._next.setEnabled(self.desk.target is not None and self.desk.target.state == "ready")
