"""The discriminator: how it learns while it learns, how well it decides, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from studio.plan.cascade import Cascade
from studio.plan.deferral import Interval
from studio.plan.learning import Epoch
from studio.ui import text
from studio.ui.theme import Theme
from studio.ui.widgets.discrimination import LearningCurve, ReliabilityPlot, RocCurves
from studio.ui.widgets.fields import whole
from studio.ui.widgets.labels import label

NO_FOLDER = "Real pictures …"
COUNT = 240
TITLES = ("Score", "AUC", "20 %", "40 %", "60 %")


class CascadeDiscriminator(QWidget):
    """Learning curve, ROC curves and calibration; the ways to decide in numbers; notes."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 8, 0, 0)
        column.setSpacing(6)
        self.summary = label("Not trained yet.", "muted", wrap=True)
        self._count = whole("Pairs to train on", 24, 5000, COUNT, step=24, unit="pairs")
        self._real = QPushButton(NO_FOLDER)
        self._real.setToolTip(
            "Real against generated learns from real pictures: rendered scenes, else a folder of yours"
        )
        self._real.clicked.connect(self._choose_folder)
        self.real = ""
        """Folder of the user's real pictures; empty: none."""
        head_row = QHBoxLayout()
        head_row.addWidget(self.summary, 1)
        head_row.addWidget(self._count)
        head_row.addWidget(self._real)
        column.addLayout(head_row)
        self.learning = LearningCurve(theme)
        self.roc = RocCurves(theme)
        self.calibration = ReliabilityPlot(theme)
        plots = QHBoxLayout()
        plots.setSpacing(8)
        for title, plot, stretch in (
            ("Training", self.learning, 4),
            ("Good pictures kept: held-out ROC", self.roc, 3),
            ("Calibration", self.calibration, 3),
        ):
            block = QVBoxLayout()
            block.setSpacing(2)
            block.addWidget(label(title, "small"))
            block.addWidget(plot, 1)
            plots.addLayout(block, stretch)
        column.addLayout(plots, 3)
        column.addWidget(
            label("Ways to decide: area under the ROC curve, quality by deferred share", "small")
        )
        self.table = QTableWidget(0, len(TITLES))
        self.table.setAccessibleName(
            "Ways to decide: area under the ROC curve, and quality with 20, 40 and 60 % deferred"
        )
        self.table.setHorizontalHeaderLabels(list(TITLES))
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(round(24 * theme.scale))
        self.table.setShowGrid(False)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setTabKeyNavigation(False)
        head = self.table.horizontalHeader()
        head.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        head.setHighlightSections(False)
        head.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        column.addWidget(self.table, 2)
        self.notes = label("", "small", wrap=True)
        column.addWidget(self.notes)

    @property
    def count(self) -> int:
        """Pairs to train on."""
        return self._count.value()

    def _choose_folder(self) -> None:
        self.use_folder(QFileDialog.getExistingDirectory(self, "A folder with real pictures", self.real))

    def use_folder(self, folder: str) -> None:
        """Real pictures from a folder of the user's, or none."""
        self.real = folder
        self._real.setText(Path(folder).name if folder else NO_FOLDER)

    def begin(self) -> None:
        """Training begins: its curve starts anew."""
        self.learning.show_epochs(())

    def add_point(self, stage: str, number: int, values: dict[str, Any]) -> None:
        """An epoch, as the worker tells it."""
        learned, held = values.get("learned"), values.get("held")
        if learned is not None:
            self.learning.add(Epoch(stage, number, float(learned), None if held is None else float(held)))

    def show_cascade(self, found: Cascade | None, show_quality: Callable[[float], str]) -> None:
        """What training came to."""
        self.roc.show_scorers(() if found is None else found.scorers)
        self.calibration.show_bins(() if found is None else found.reliability)
        self.table.setRowCount(0)
        self.notes.setText("" if found is None else "\n".join(found.notes))
        self.learning.show_epochs(() if found is None else found.training)
        if found is None:
            self.summary.setText("Not trained yet.")
            return
        self.summary.setText(
            f"Trained on {len(found.samples)} prompts in {text.seconds(found.trained_seconds)}; a decision "
            f"takes {text.seconds(found.discriminator_seconds)}; Brier score {text.number(found.brier)} "
            "(a coin: 0.25)."
        )
        self.table.setRowCount(len(found.scorers))
        for row, one in enumerate(found.scorers):
            cells: list[tuple[Interval | None, Callable[[float], str]]] = [(one.auc, text.number)]
            cells += [(at.quality, show_quality) for at in one.worth]
            self.table.setItem(row, 0, QTableWidgetItem(one.name))
            for column, (value, show) in enumerate(cells, start=1):
                item = QTableWidgetItem("one class" if value is None else show(value.value))
                if value is not None:
                    item.setToolTip(f"95 %: {show(value.low)} – {show(value.high)}")
                self.table.setItem(row, column, item)
