"""Cascade: a light model answers, a discriminator decides, a heavy one does the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QSlider,
    QSplitter,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from studio.plan.cascade import Cascade
from studio.plan.deferral import Interval, Operation, nearest
from studio.plan.measured import Speed, measured_tables
from studio.plan.tables import Tables
from studio.ui import text
from studio.ui.actions import Commands
from studio.ui.desk import Desk
from studio.ui.journey import Journey
from studio.ui.models.run import Changes
from studio.ui.pages.cascade_planner import CascadePlanner
from studio.ui.pages.cascade_reuse import CascadeReuse
from studio.ui.pages.cascade_votes import CascadeVotes
from studio.ui.pages.page import Page
from studio.ui.theme import Theme
from studio.ui.widgets.curves import DeferralCurves
from studio.ui.widgets.fields import real
from studio.ui.widgets.labels import Figure, label
from studio.ui.widgets.message import Empty
from studio.ui.widgets.sheet import Cell, Sheet

TARGETS = {
    "better": "Heavy beats light",
    "votes": "… and your votes",
    "real": "Real against generated",
}
NEAR = 8
"""Pictures shown on each side of the threshold."""


class CascadePage(Page):
    """Fifth step."""

    step = "cascade"
    title = "Cascade"

    def __init__(self, desk: Desk, theme: Theme, commands: Commands, journey: Journey) -> None:
        super().__init__(desk, theme, commands, journey)
        self.cascade: Cascade | None = None
        self._quiet = False
        self._header()
        self._empty = Empty(
            "No pair to cascade yet",
            "A cascade needs a light and a heavy candidate of the front; a run finds them.",
            "Start a run",
        )
        self._empty.button.clicked.connect(lambda: desk.step_wanted.emit("evolve"))
        self.column.addWidget(self._empty, 1)
        self._body = QWidget()
        body = QVBoxLayout(self._body)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(6)
        upper = QHBoxLayout()
        upper.setSpacing(16)
        graph = QVBoxLayout()
        graph.setSpacing(4)
        self.curves = DeferralCurves(theme)
        self.curves.moved.connect(self._on_moved)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName("Threshold")
        self.slider.setRange(0, 0)
        self.slider.setEnabled(False)
        self.slider.setPageStep(10)
        self.slider.valueChanged.connect(self._show_operation)
        graph.addWidget(self.curves, 1)
        graph.addWidget(self.slider)
        upper.addLayout(graph, 1)
        upper.addLayout(self._figures())
        body.addLayout(upper, 3)
        lower = QSplitter(Qt.Orientation.Horizontal)
        lower.setChildrenCollapsible(False)
        pictures = QWidget()
        column = QVBoxLayout(pictures)
        column.setContentsMargins(0, 0, 8, 0)
        column.setSpacing(2)
        self._below_word = label("Just below the threshold: deferred", "small")
        self._above_word = label("Just above the threshold: the light picture is kept", "small")
        self.below = Sheet(desk.pictures, theme, "Pictures just below the threshold", size=64)
        self.above = Sheet(desk.pictures, theme, "Pictures just above the threshold", size=64)
        for word, sheet in ((self._below_word, self.below), (self._above_word, self.above)):
            column.addWidget(word)
            column.addWidget(sheet)
        column.addStretch(1)
        lower.addWidget(pictures)
        lower.addWidget(self._discriminator())
        lower.setStretchFactor(0, 3)
        lower.setStretchFactor(1, 2)
        desk.sitting.follow("cascade", lower)
        body.addWidget(lower, 2)
        self.planner = CascadePlanner(theme, desk.sitting)
        self.planner.threshold_wanted.connect(self._on_threshold)
        self._tabs = QTabWidget()
        self._tabs.setAccessibleName("Parts of the cascade")
        self._tabs.tabBar().setAccessibleName("Parts of the cascade")
        self._tabs.addTab(self._body, "Threshold")
        self.reuse = CascadeReuse(desk, theme)
        self.reuse.wanted.connect(self.start_reuse)
        self.votes = CascadeVotes(desk, theme)
        self.votes.train_wanted.connect(lambda: self.start_training("votes"))
        self.votes.problem.connect(lambda said: self.message.say(said, "warning"))
        self._tabs.addTab(self.planner, "Plan and traffic")
        self._tabs.addTab(self.reuse, "Deferred prompts")
        self._tabs.addTab(self.votes, "Your votes")
        self.column.addWidget(self._tabs, 1)
        desk.run.changed.connect(self._on_changed)
        theme.changed.connect(lambda: self._show_operation(self.slider.value()))
        self._on_changed(Changes(everything=True, front=True))

    # -- building -------------------------------------------------------------------------------

    def _header(self) -> None:
        self.light, self.heavy = QComboBox(), QComboBox()
        for combo, name in ((self.light, "Light"), (self.heavy, "Heavy")):
            combo.setAccessibleName(f"{name} candidate")
            combo.setMinimumWidth(170)
            combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            combo.currentIndexChanged.connect(self._on_chosen)
            caption = label(name, "muted")
            caption.setBuddy(combo)
            self.head.addWidget(caption)
            self.head.addWidget(combo, 1)
        self.train = QPushButton("Train discriminator")
        self.train.setProperty("role", "primary")
        self.train.setToolTip(
            "Make pictures of fresh prompts with both, and learn when the light one is good enough"
        )
        self.train.clicked.connect(lambda: self.start_training())
        self._target = QComboBox()
        self._target.setAccessibleName("What the discriminator is trained on")
        for value, title in TARGETS.items():
            self._target.addItem(title, value)
        self._progress = label("", "small")
        self.head.addWidget(self._target)
        self.head.addWidget(self._progress)
        self.head.addWidget(self.train)

    def _figures(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(8)
        self.share = Figure("Deferred to the heavy model", big=True)
        self.seconds = Figure("Expected latency", big=True)
        self.quality = Figure("Expected quality", big=True)
        for figure in (self.share, self.seconds, self.quality):
            figure.setMinimumWidth(210)
            column.addWidget(figure)
        column.addStretch(1)
        kept = self.desk.sitting.real("cascade/budget", 0)
        self._budget = real("Latency budget", 0, 1e6, kept, unit="ms", least="no budget")
        self._budget.valueChanged.connect(self._on_budget)
        self._snap = QPushButton("Snap")
        self._snap.setAccessibleName("Move the threshold to the budget")
        self._snap.setToolTip("Move the threshold to the best quality within the budget")
        self._snap.clicked.connect(self.snap)
        row = QHBoxLayout()
        row.addWidget(self._budget, 1)
        row.addWidget(self._snap)
        column.addWidget(label("Latency budget", "small"))
        column.addLayout(row)
        self.export = QPushButton("Export this cascade")
        self.export.setToolTip("Light, heavy, discriminator and this threshold as one package that serves")
        self.export.setEnabled(False)
        self.export.clicked.connect(self.start_export)
        column.addWidget(self.export)
        return column

    def _discriminator(self) -> QWidget:
        side = QWidget()
        column = QVBoxLayout(side)
        column.setContentsMargins(8, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(label("Discriminator", "section"))
        self._summary = label("Not trained yet.", "muted", wrap=True)
        column.addWidget(self._summary)
        self._scorers = self._small_table(
            "Ways to decide: area under the ROC curve, and quality with 20, 40 and 60 % deferred",
            ["Score", "AUC", "20 %", "40 %", "60 %"],
        )
        self._bins = self._small_table("Calibration of the scores", ["Said", "Found", "Pictures"])
        tables = QHBoxLayout()
        tables.setSpacing(8)
        for title, table, stretch in (
            ("Ways to decide: area under the ROC curve, quality by deferred share", self._scorers, 3),
            ("Calibration: said, found", self._bins, 2),
        ):
            block = QVBoxLayout()
            block.setSpacing(2)
            block.addWidget(label(title, "small"))
            block.addWidget(table, 1)
            tables.addLayout(block, stretch)
        column.addLayout(tables, 1)
        return side

    def _small_table(self, name: str, titles: list[str]) -> QTableWidget:
        table = QTableWidget(0, len(titles))
        table.setAccessibleName(name)
        table.setHorizontalHeaderLabels(titles)
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(round(24 * self.theme.scale))
        table.setShowGrid(False)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setTabKeyNavigation(False)
        table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        table.horizontalHeader().setHighlightSections(False)
        table.horizontalHeader().setDefaultAlignment(
            Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        )
        return table

    # -- training -------------------------------------------------------------------------------

    def start_training(self, target: str = "") -> None:
        """Train on the pair; `target` as the command `discriminator` takes it, else the chosen one."""
        light, heavy = self.light.currentData(), self.heavy.currentData()
        if not light or not heavy or light == heavy:
            self.message.say("Choose two different candidates: a fast one and a good one.", "warning")
            return
        wanted = target or str(self._target.currentData())
        job = self.desk.ask(
            "cascade",
            "discriminator",
            lambda: self.start_training(wanted),
            run=self.desk.run.id,
            light=light,
            heavy=heavy,
            target=wanted,
        )
        self.train.setEnabled(False)
        job.progress.connect(
            lambda done, total, doing: self._progress.setText(f"{doing} {done}/{total}" if total else doing)
        )
        job.done.connect(self.show_result)
        job.ended.connect(self._on_trained)

    def start_reuse(self) -> None:
        """Measure what can be done with a deferred prompt."""
        found = self.cascade
        if found is None:
            return
        job = self.desk.ask(
            "cascade",
            "reuse",
            self.start_reuse,
            run=self.desk.run.id,
            light=found.light,
            heavy=found.heavy,
        )
        self.train.setEnabled(False)
        self.reuse.measure.setEnabled(False)
        job.progress.connect(
            lambda done, total, doing: self._progress.setText(f"{doing} {done}/{total}" if total else doing)
        )
        job.done.connect(self.show_result)
        job.ended.connect(self._on_reuse_ended)

    def _on_reuse_ended(self) -> None:
        self.reuse.measure.setEnabled(self.cascade is not None)
        self._on_trained()

    def show_result(self, result: dict[str, Any]) -> None:
        """Show the worker's `discriminator` result."""
        try:
            self.cascade = Cascade.from_json(result["cascade"])
        except (KeyError, TypeError, ValueError) as error:
            self.message.say(
                f"The discriminator's result could not be read ({error}); train it again.", "error"
            )
            return
        self._show_cascade()

    def _recall(self) -> None:
        """Show what was trained for the chosen pair in an earlier sitting."""
        folder, light, heavy = self.desk.run.folder, self.light.currentData(), self.heavy.currentData()
        if folder is None or self.cascade is not None:
            return
        try:
            kept = (folder / "cascade" / f"{light}-{heavy}" / "cascade.json").read_text(encoding="utf-8")
            self.cascade = Cascade.from_json(json.loads(kept)["cascade"])
        except (OSError, KeyError, TypeError, ValueError):
            return
        self._show_cascade()

    def _on_trained(self) -> None:
        self.train.setEnabled(True)
        self._progress.setText("")

    # -- exporting ------------------------------------------------------------------------------

    def start_export(self) -> None:
        """Export the trained pair at the threshold where the slider stands."""
        found, at = self.cascade, self.operation
        if found is None or at is None:
            return
        job = self.desk.ask(
            "cascade",
            "export_cascade",
            self.start_export,
            run=self.desk.run.id,
            light=found.light,
            heavy=found.heavy,
            threshold=at.threshold,
        )
        self.export.setEnabled(False)
        job.progress.connect(lambda done, total, doing: self._progress.setText(f"{doing} {done}/{total}"))
        job.done.connect(self._on_exported)
        job.ended.connect(self._on_export_ended)

    def _on_exported(self, result: dict[str, Any]) -> None:
        serve = str(result.get("serve", ""))
        self.message.say(
            f"The cascade is in {result.get('package', '')}; it was proved there. Serve it with: {serve}",
            "info",
            ("Copy command", lambda: QGuiApplication.clipboard().setText(serve)),
            lasting=True,
        )

    def _on_export_ended(self) -> None:
        self.export.setEnabled(self.cascade is not None)
        self._progress.setText("")

    # -- the threshold --------------------------------------------------------------------------

    @property
    def operation(self) -> Operation | None:
        """What the slider stands at."""
        return (
            self.cascade.curve[self.slider.value()]
            if self.cascade is not None and self.cascade.curve
            else None
        )

    def snap(self) -> None:
        """To the best quality within the latency budget."""
        budget = self._budget.value() / 1000
        if self.cascade is None or not budget:
            return
        within = [at for at, one in enumerate(self.cascade.curve) if one.seconds.value <= budget]
        if within:
            self.slider.setValue(max(within, key=lambda at: self.cascade.curve[at].quality.value))  # type: ignore[union-attr]
        else:
            self.message.say(
                "Even without the heavy model the budget is exceeded; choose a lighter candidate.", "warning"
            )

    def _on_threshold(self, threshold: float) -> None:
        """The operation nearest to a threshold, on show."""
        if self.cascade is None:
            return
        found = self.cascade.curve
        self.slider.setValue(min(range(len(found)), key=lambda at: abs(found[at].threshold - threshold)))
        self._tabs.setCurrentIndex(0)

    def _on_moved(self, at: int) -> None:
        self.slider.setValue(at)

    def _on_budget(self, value: float) -> None:
        self.desk.sitting.put("cascade/budget", value)
        self.curves.set_budget(value / 1000 if value else None)

    def _quality(self, value: float) -> str:
        metric = self.cascade.metric if self.cascade is not None else ""
        return text.metric("adherence", value) if metric == "adherence" else text.number(value)

    def _show_cascade(self) -> None:
        found = self.cascade
        self.slider.setEnabled(found is not None)
        self.export.setEnabled(found is not None)
        self.reuse.show_cascade(found, self._quality)
        self.votes.show_cascade(found)
        self.planner.show_tables(self._measured(found) if found is not None else None)
        if found is None:
            self.slider.setRange(0, 0)
            self.curves.show_curve((), text.number)
            for figure in (self.share, self.seconds, self.quality):
                figure.show_value("–")
            self.below.show_cells([])
            self.above.show_cells([])
            self._summary.setText("Not trained yet.")
            self._scorers.setRowCount(0)
            self._bins.setRowCount(0)
            return
        self.slider.setRange(0, len(found.curve) - 1)
        self.curves.show_curve(found.curve, self._quality)
        self._on_budget(self._budget.value())
        middle = min(range(len(found.curve)), key=lambda at: abs(found.curve[at].share - 0.3))
        if (safe := found.guarded) is not None:
            middle = min(range(len(found.curve)), key=lambda at: abs(found.curve[at].threshold - safe))
        self.slider.setValue(middle)
        self._show_operation(self.slider.value())
        rate = text.percent(found.guarded_rate)
        guarded = (
            f" From {text.number(found.guarded)} up, at most {rate} of the kept pictures are poor."
            if found.guarded is not None
            else f" With this many prompts no threshold is shown to keep poor pictures under {rate}."
        )
        self._summary.setText(
            f"Trained on {len(found.samples)} prompts in {text.seconds(found.trained_seconds)}; a decision "
            f"takes {text.seconds(found.discriminator_seconds)}; Brier score {text.number(found.brier)} "
            "(a coin: 0.25)." + guarded + ("\n" + "\n".join(found.notes) if found.notes else "")
        )
        self._fill(
            self._scorers,
            [
                (
                    one.name,
                    "one class" if one.auc is None else text.number(one.auc.value),
                    *(self._quality(at.quality.value) for at in one.worth),
                )
                for one in found.scorers
            ],
        )
        for row, one in enumerate(found.scorers):
            ranges: list[tuple[int, Interval, Callable[[float], str]]]
            ranges = [] if one.auc is None else [(1, one.auc, text.number)]
            ranges += [(2 + at, worth.quality, self._quality) for at, worth in enumerate(one.worth)]
            for column, found_range, show in ranges:
                item = self._scorers.item(row, column)
                if item is not None:
                    item.setToolTip(f"95 %: {show(found_range.low)} – {show(found_range.high)}")
        self._fill(
            self._bins,
            [(text.percent(one.said), text.percent(one.found), str(one.count)) for one in found.reliability],
        )

    def _measured(self, found: Cascade) -> Tables:
        """The pair as the planner takes it."""

        def speed(name: str) -> Speed:
            candidate = self.desk.run.state.candidates.get(name)
            verdict = candidate.verdict if candidate is not None else None
            if verdict is None:
                return Speed(name, {})
            latency = verdict.latency.value if verdict.latency is not None else None
            return Speed(name, verdict.throughput, latency, verdict.latency_p90)

        return measured_tables(found, speed(found.light), speed(found.heavy))

    def _fill(self, table: QTableWidget, rows: list[tuple[str, ...]]) -> None:
        table.setRowCount(len(rows))
        for at, row in enumerate(rows):
            for column, cell in enumerate(row):
                table.setItem(at, column, QTableWidgetItem(cell))

    def _show_operation(self, at: int) -> None:
        found = self.cascade
        if found is None or not found.curve:
            return
        self.curves.set_at(at)
        one = found.curve[at]
        self.share.show_value(
            text.percent(one.share), f"{one.light} light, {one.heavy} heavy of {len(found.samples)}"
        )
        self.seconds.show_value(
            text.seconds(one.seconds.value),
            f"{text.seconds(one.seconds.low)} – {text.seconds(one.seconds.high)}",
        )
        gain = one.quality.value - one.control
        self.quality.show_value(
            self._quality(one.quality.value),
            f"{self._quality(one.quality.low)} – {self._quality(one.quality.high)}; "
            f"{'+' if gain >= 0 else '−'}{self._quality(abs(gain))} against chance",
        )
        self.slider.setAccessibleDescription(
            f"threshold {text.number(one.threshold)}, {text.percent(one.share)} deferred, "
            f"{text.seconds(one.seconds.value)}"
        )
        below, above = nearest([sample.score for sample in found.samples], one.threshold, NEAR)
        self.below.show_cells([self._cell(index) for index in below])
        self.above.show_cells([self._cell(index) for index in above])
        self._below_word.setText(f"Just below {text.number(one.threshold)}: deferred (light, heavy)")
        self._above_word.setText(
            f"From {text.number(one.threshold)} up: the light picture is kept (light, heavy)"
        )

    def _cell(self, index: int) -> Cell:
        assert self.cascade is not None
        sample = self.cascade.samples[index]
        paths = [self.desk.run.picture(name) for name in (sample.light_image, sample.heavy_image)]
        return Cell(
            sample.prompt, text.number(sample.score), tuple(path for path in paths if path is not None)
        )

    # -- following ------------------------------------------------------------------------------

    def _on_changed(self, changes: Changes) -> None:
        if changes.everything:
            self.cascade = None
            self._show_cascade()
        if not (changes.everything or changes.front or changes.updated):
            return
        run = self.desk.run
        names = [name for name in run.state.front if name in run.state.candidates]
        if "c000" in run.state.candidates and "c000" not in names and run.state.candidates["c000"].passed:
            names.append("c000")
        if [self.light.itemData(at) for at in range(self.light.count())] != names:
            self._quiet = True
            kept = (self.light.currentData(), self.heavy.currentData())
            for combo, before, fallback in ((self.light, kept[0], 0), (self.heavy, kept[1], len(names) - 1)):
                combo.clear()
                for name in names:
                    combo.addItem(f"{name}  {run.state.candidates[name].proposal.title}", name)
                combo.setCurrentIndex(names.index(before) if before in names and self.cascade else fallback)
            self._quiet = False
            self._recall()
        elif changes.everything:
            self._recall()
        ready = len(names) > 1
        self._empty.setVisible(not ready)
        self._tabs.setVisible(ready)
        self.train.setEnabled(ready and self._progress.text() == "")

    def _on_chosen(self) -> None:
        if self._quiet or self.cascade is None:
            return
        if (self.light.currentData(), self.heavy.currentData()) != (self.cascade.light, self.cascade.heavy):
            self.cascade = None
            self._show_cascade()
            self._recall()
