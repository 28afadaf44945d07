"""What happens to a deferred prompt: the options that were measured, as a table, a curve and pictures."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from studio.plan.cascade import Cascade
from studio.plan.reuse import Arm
from studio.ui import text
from studio.ui.desk import Desk
from studio.ui.theme import Theme
from studio.ui.widgets.labels import label
from studio.ui.widgets.sheet import Cell, Sheet
from studio.ui.widgets.strengths import StrengthCurve

TITLES = ("Option", "Steps", "Further time", "Quality", "Against its pair")


class CascadeReuse(QWidget):
    """One row of pictures for each prompt: the light one, then by strength, then heavy from the start.

    Signals:
        wanted(): the options should be measured.
    """

    wanted = Signal()

    def __init__(self, desk: Desk, theme: Theme) -> None:
        super().__init__()
        self._desk = desk
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 8, 0, 0)
        column.setSpacing(6)
        head = QHBoxLayout()
        self.verdict = label("", "muted", wrap=True)
        self.measure = QPushButton("Measure the options")
        self.measure.setToolTip("Draw prompts that are deferred in every way, and compare quality and time")
        self.measure.clicked.connect(self.wanted)
        self.measure.setEnabled(False)
        head.addWidget(self.verdict, 1)
        head.addWidget(self.measure)
        column.addLayout(head)
        upper = QHBoxLayout()
        self.curve = StrengthCurve(theme)
        self.table = QTableWidget(0, len(TITLES))
        self.table.setAccessibleName("Options for a deferred prompt, as measured")
        self.table.setHorizontalHeaderLabels(list(TITLES))
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(round(24 * theme.scale))
        self.table.setShowGrid(False)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setTabKeyNavigation(False)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        upper.addWidget(self.curve, 2)
        upper.addWidget(self.table, 3)
        column.addLayout(upper, 3)
        column.addWidget(label("The same deferred prompts in every way", "section"))
        self.sheet = Sheet(desk.pictures, theme, "Deferred prompts by strength", size=64)
        column.addWidget(self.sheet, 2)
        self.notes = label("", "small", wrap=True)
        column.addWidget(self.notes)

    def show_cascade(self, cascade: Cascade | None, show_quality: Callable[[float], str]) -> None:
        """What was measured of the pair; without a discriminator there is nothing to measure yet."""
        reuse = None if cascade is None else cascade.reuse
        self.measure.setEnabled(cascade is not None)
        self.curve.show_reuse(reuse, show_quality)
        self.table.setRowCount(0)
        self.notes.setText("")
        if cascade is None or reuse is None:
            self.sheet.show_cells([])
            self.verdict.setText(
                "Train a discriminator first: it says which prompts are deferred."
                if cascade is None
                else "Not measured yet: nothing is assumed about starting heavy from the light picture."
            )
            return
        self.verdict.setText(reuse.verdict(cascade.margin))
        self.table.setRowCount(len(reuse.arms))
        for row, arm in enumerate(reuse.arms):
            against = arm.against
            low, high = show_quality(arm.quality.low), show_quality(arm.quality.high)
            cells = (
                arm.title,
                str(arm.steps),
                text.seconds(arm.seconds.value),
                f"{show_quality(arm.quality.value)} ({low} – {high})",
                f"{against.value * 100:+.1f} ({against.low * 100:+.1f} to {against.high * 100:+.1f})",
            )
            for at, cell in enumerate(cells):
                self.table.setItem(row, at, QTableWidgetItem(cell))
        lights = [arm for arm in reuse.arms if arm.kind == "light"]
        shown = [*lights, *reuse.curve, *(arm for arm in reuse.arms if arm.kind == "attention")]
        count = min((len(arm.images) for arm in shown), default=0)
        self.sheet.show_cells(
            [self._cell(reuse.prompts[at], arm, at) for at in range(count) for arm in shown]
        )
        self.notes.setText(
            f"{len(reuse.prompts)} of the prompts that a share of {text.percent(reuse.share)} defers. "
            + " ".join(reuse.notes)
        )

    def _cell(self, prompt: str, arm: Arm, at: int) -> Cell:
        remark = {"light": "light", "heavy": "heavy", "attention": "maps"}.get(arm.kind, "")
        path = self._desk.run.picture(arm.images[at])
        return Cell(prompt, remark or f"s {arm.strength:.2g}", (path,) if path is not None else ())
