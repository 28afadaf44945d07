"""Plan a cascade for a load, and replay traffic against it: a tab of the Cascade step."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QIcon, QPixmap
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QSplitter,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from studio.errors import PlanError
from studio.plan.benchmark import LENGTH
from studio.plan.nearest import explain
from studio.plan.outcome import Outcome
from studio.plan.planner import feasible
from studio.plan.policies import POLICIES
from studio.plan.quality import Choices
from studio.plan.sentences import plan_sentences, quality
from studio.plan.service import Service
from studio.plan.situation import GOALS, Goal, Plan, Situation
from studio.plan.tables import Tables
from studio.plan.traces import Trace, bursts, diurnal, poisson, read_trace
from studio.ui import text
from studio.ui.models.replay import Replay
from studio.ui.sitting import Sitting
from studio.ui.theme import Theme
from studio.ui.widgets.labels import label
from studio.ui.widgets.message import Message
from studio.ui.widgets.scale_slider import ScaleSlider
from studio.ui.widgets.timelines import Timelines, ink

HEADROOMS = (1.02, 1.05, 1.1, 1.2, 1.5)
MOST_REQUESTS = 12_000
"""Of a simulated trace; more load makes it shorter."""
MOST_WORKERS = 64
"""Of a simulated fleet; a larger one is simulated as a slice of itself."""
MANY = 100_000
SHOWN = frozenset({"ours", "diffserve", "diffserve-shortest", "static"})
TRACES = ("A day", "Steady", "Bursts", "From a file …")


class CascadePlanner(QWidget):
    """Sliders and a plan at the left, traffic at the right.

    Signals:
        threshold_wanted(float): the threshold of the plan is to be used.
    """

    threshold_wanted = Signal(float)

    def __init__(self, theme: Theme, sitting: Sitting, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme, self._sitting = theme, sitting
        self._tables: Tables | None = None
        self._choices: Choices | None = None
        self.plan: Plan | None = None
        self.outcomes: list[Outcome] = []
        self._file: Path | None = None
        self._kept: dict[str, bool] = {}
        self._replay = Replay(self)
        self._replay.found.connect(self._on_found)
        self._replay.progress.connect(self._on_progress)
        self._replay.ended.connect(self._on_ended)
        self._why = QTimer(self, singleShot=True, interval=150)
        self._why.timeout.connect(self._explain)
        self.message = Message()
        split = QSplitter(Qt.Orientation.Horizontal)
        split.setChildrenCollapsible(False)
        split.addWidget(self._planning())
        split.addWidget(self._traffic())
        split.setStretchFactor(0, 2)
        split.setStretchFactor(1, 5)
        sitting.follow("cascade-planner", split)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 6, 0, 0)
        column.addWidget(self.message)
        column.addWidget(split, 1)
        theme.changed.connect(self._show_outcomes)
        self.show_tables(None)

    # -- building -------------------------------------------------------------------------------

    def _planning(self) -> QWidget:
        side = QWidget()
        side.setMinimumWidth(300)
        column = QVBoxLayout(side)
        column.setContentsMargins(0, 0, 8, 0)
        column.setSpacing(6)
        column.addWidget(label("Plan", "section"))
        kept = self._sitting.real
        self.load = ScaleSlider("Load", 0.1, 10_000, 10, lambda value: f"{value:g} requests/s")
        self.latency = ScaleSlider("Latency objective", 0.02, 120, 5, text.seconds)
        self.workers = ScaleSlider(
            "Workers", 1, MANY, kept("cascade/workers", 16), lambda value: f"{value:,.0f}", whole=True
        )
        self.headroom = ScaleSlider(
            "Head-room: capacity over load",
            1.0,
            2.0,
            kept("cascade/headroom", 1.2),
            lambda value: f"{value:.2f}",
            even=True,
        )
        for slider in (self.load, self.latency, self.workers, self.headroom):
            slider.changed.connect(self._replan)
            column.addWidget(slider)
        self.goal = QComboBox()
        self.goal.setAccessibleName("Goal of the plan")
        goals: tuple[Goal, ...] = ("loss", "threshold")
        for goal in goals:
            self.goal.addItem(
                GOALS[goal].capitalize() if goal == "loss" else "Largest threshold (DiffServe)", goal
            )
        self.goal.currentIndexChanged.connect(self._replan)
        column.addWidget(self.goal)
        self._words = label("", wrap=True, select=True)
        self._words.setAccessibleName("The plan in words")
        self._words.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        column.addWidget(self._words)
        self.use = QPushButton("Use this threshold")
        self.use.setToolTip("Move the threshold of the cascade to that of the plan")
        self.use.clicked.connect(self._on_use)
        column.addWidget(self.use)
        self._cliff = label("", "small", wrap=True)
        self._timing = label("", "small", wrap=True)
        column.addWidget(self._cliff)
        column.addWidget(self._timing)
        column.addStretch(1)
        return side

    def _traffic(self) -> QWidget:
        side = QWidget()
        column = QVBoxLayout(side)
        column.setContentsMargins(8, 0, 0, 0)
        column.setSpacing(6)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(label("Traffic", "section"))
        self.trace = QComboBox()
        self.trace.setAccessibleName("Trace of requests")
        self.trace.addItems(list(TRACES))
        self.trace.activated.connect(self._on_trace)
        row.addWidget(self.trace)
        self._progress = label("", "small")
        row.addWidget(self._progress, 1)
        self.simulate = QPushButton("Simulate")
        self.simulate.setProperty("role", "primary")
        self.simulate.setToolTip(
            "Replay the trace against every policy, with the workers and the objective at the left"
        )
        self.simulate.clicked.connect(self.start)
        row.addWidget(self.simulate)
        column.addLayout(row)
        self.timelines = Timelines(self._theme)
        column.addWidget(self.timelines, 3)
        self.table = QTableWidget(0, 6)
        self.table.setAccessibleName("Policies side by side; ticked ones are drawn")
        self.table.setHorizontalHeaderLabels(
            ["Policy", "Late", "Quality", "Deferred", "Handed back", "99 % within"]
        )
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(round(22 * self._theme.scale))
        self.table.setShowGrid(False)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setTabKeyNavigation(False)
        head = self.table.horizontalHeader()
        head.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        head.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        head.setHighlightSections(False)
        self.table.itemChanged.connect(self._on_ticked)
        column.addWidget(self.table, 2)
        self._note = label("", "small", wrap=True)
        column.addWidget(self._note)
        return side

    # -- the plan -------------------------------------------------------------------------------

    def show_tables(self, tables: Tables | None) -> None:
        """A measured pair, or none yet."""
        self._replay.stop()
        self._tables = tables
        self._choices = tables.choices() if tables is not None else None
        self.outcomes = []
        self._show_outcomes()
        self.simulate.setEnabled(tables is not None)
        if tables is None:
            self.plan = None
            self.use.setEnabled(False)
            self._words.setText(
                "Train a discriminator: its scores, and both candidates' times, are what is planned with."
            )
            self._cliff.clear()
            self._timing.clear()
            self._note.clear()
            return
        heavy = tables.devices[0].heavy.at(1, 0.9)
        self.latency.set_value(float(f"{6 * heavy:.2g}"))
        self.load.set_value(float(f"{self.workers.value / heavy:.2g}"))

    @property
    def situation(self) -> Situation | None:
        """What the sliders say, or `None` without tables."""
        if self._tables is None or self._choices is None:
            return None
        found = self._tables.with_workers({"": int(self.workers.value)})
        return Situation(
            devices=found.devices,
            choices=self._choices,
            demand=self.load.value,
            latency=self.latency.value,
            goal=self.goal.currentData(),
            headroom=self.headroom.value,
        )

    def _replan(self, *_: object) -> None:
        self._why.stop()
        self._sitting.put("cascade/workers", self.workers.value)
        self._sitting.put("cascade/headroom", self.headroom.value)
        situation = self.situation
        if situation is None:
            return
        start = time.perf_counter()
        self.plan = feasible(situation)
        self.use.setEnabled(self.plan is not None)
        took = time.perf_counter() - start
        if self.plan is None:
            self._words.setText("No plan meets this; looking for the nearest that does …")
            self._cliff.clear()
            self._timing.clear()
            self._why.start()
            return
        self._words.setText("\n".join(f"• {sentence}" for sentence in plan_sentences(situation, self.plan)))
        shares = []
        for headroom in HEADROOMS:
            found = feasible(replace(situation, headroom=headroom))
            shares.append(f"{headroom:g}: {text.percent(found.share) if found is not None else 'no plan'}")
        self._cliff.setText(f"Deferred by head-room (it has a cliff): {', '.join(shares)}.")
        self._timing.setText(self._told(situation, took))

    def _on_use(self) -> None:
        if self.plan is not None:
            self.threshold_wanted.emit(self.plan.threshold)

    def _told(self, situation: Situation, took: float) -> str:
        scale = MANY / situation.workers
        device = replace(situation.devices[0], workers=MANY)
        start = time.perf_counter()
        feasible(replace(situation, devices=(device,), demand=situation.demand * scale))
        many = time.perf_counter() - start
        return (
            f"Planned in {text.seconds(took)}; for {MANY:,} workers and as much more load in "
            f"{text.seconds(many)}: their number is not what makes it hard."
        )

    def _explain(self) -> None:
        situation = self.situation
        if situation is not None and self.plan is None:
            self._words.setText(str(explain(situation)))

    # -- traffic --------------------------------------------------------------------------------

    def _on_trace(self, at: int) -> None:
        if at != len(TRACES) - 1:
            return
        name, _ = QFileDialog.getOpenFileName(
            self, "A trace: arrival_ms[,prompt_id] a line", "", "Traces (*.csv *.txt *.json);;All files (*)"
        )
        if name:
            self._file = Path(name)

    def use_file(self, path: Path) -> None:
        """Replay a file's arrivals."""
        self._file = path
        self.trace.setCurrentIndex(len(TRACES) - 1)

    def traffic(self, rate: float) -> Trace:
        """The chosen trace with a mean of `rate` requests per second.

        Raises:
            PlanError: the file is no trace.
        """
        at = self.trace.currentIndex()
        if at == len(TRACES) - 1:
            if self._file is None:
                raise PlanError("Choose a file of arrivals first, or one of the other traces.")
            found = read_trace(self._file)
            return replace(found, prompt_ids=found.prompt_ids[:0])
        length = min(LENGTH, MOST_REQUESTS / rate)
        if at == 0:
            return diurnal(0.2 * rate, 1.8 * rate, length)
        return (
            poisson(rate, length)
            if at == 1
            else bursts(0.7 * rate, 2 * rate, length, every=length / 6, length=length / 30)
        )

    def start(self) -> None:
        """Replay, or stop what is replayed."""
        if self._replay.running:
            self._replay.stop()
            return
        if self._tables is None:
            return
        self.message.clear()
        workers = int(self.workers.value)
        part = min(1.0, MOST_WORKERS / workers)
        try:
            tables = self._tables.with_workers({"": round(workers * part)})
            trace = self.traffic(self.load.value * part)
            service = Service(latency=self.latency.value, headroom=self.headroom.value)
            self.outcomes = []
            self._replay.start(
                tables, service, trace, ["ours", *(name for name in POLICIES if name != "ours")]
            )
        except PlanError as error:
            self.message.say(str(error), "warning")
            return
        self.simulate.setText("Stop")
        words = [f"{len(trace):,} requests in {text.seconds(trace.seconds)}"]
        if part < 1:
            words.append(f"simulated is a slice of {round(workers * part)} workers and its part of the load")
        if self.trace.currentIndex() == len(TRACES) - 1:
            words.append("the file's own load, prompts drawn by chance")
        self._note.setText(
            "; ".join(words)
            + ". Late: after the objective, or dropped. One pair's measured times on identical workers."
        )

    def _on_found(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self._show_outcomes()

    def _on_progress(self, share: float) -> None:
        self._progress.setText(f"{text.percent(share)} simulated")

    def _on_ended(self) -> None:
        self.simulate.setText("Simulate")
        self._progress.setText("")

    def _ticks(self) -> dict[str, bool]:
        """Which of the listed policies are ticked."""
        items = (self.table.item(at, 0) for at in range(self.table.rowCount()))
        return {
            str(item.data(Qt.ItemDataRole.UserRole)): item.checkState() == Qt.CheckState.Checked
            for item in items
            if item is not None
        }

    @property
    def ticked(self) -> set[str]:
        """Policies that are drawn."""
        return {policy for policy, drawn in self._ticks().items() if drawn}

    def _on_ticked(self, item: QTableWidgetItem) -> None:
        if item.column() == 0:
            self.timelines.show_outcomes(self.outcomes, self.ticked)

    def _show_outcomes(self) -> None:
        self._kept |= self._ticks()
        blocked = self.table.blockSignals(True)
        self.table.setRowCount(len(self.outcomes))
        for at, one in enumerate(self.outcomes):
            self._fill(at, one, self._kept.get(one.policy, one.policy in SHOWN))
        self.table.blockSignals(blocked)
        self.timelines.show_outcomes(self.outcomes, self.ticked)

    def _fill(self, at: int, one: Outcome, drawn: bool) -> None:
        swatch = QPixmap(12, 12)
        swatch.fill(ink(self._theme, one.policy))
        name = QTableWidgetItem(QIcon(swatch), one.title)
        name.setData(Qt.ItemDataRole.UserRole, one.policy)
        name.setFlags(name.flags() | Qt.ItemFlag.ItemIsUserCheckable)
        name.setCheckState(Qt.CheckState.Checked if drawn else Qt.CheckState.Unchecked)
        self.table.setItem(at, 0, name)
        worth = "–" if one.quality is None else quality(one.metric, one.quality.value)
        cells = (
            f"{one.late.value:.2%}",
            worth,
            text.percent(one.deferred),
            f"{one.fallback:,}",
            text.seconds(one.latency["p99"]),
        )
        tip = (
            ""
            if one.quality is None
            else f"{quality(one.metric, one.quality.low)} – {quality(one.metric, one.quality.high)}"
        )
        for column, cell in enumerate(cells, start=1):
            item = QTableWidgetItem(cell)
            item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            if column == 2 and tip:
                item.setToolTip(f"95 %: {tip}")
            if column == 1:
                item.setToolTip(f"95 %: {one.late.low:.2%} – {one.late.high:.2%}")
            self.table.setItem(at, column, item)
