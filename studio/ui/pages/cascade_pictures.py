"""Pictures that a threshold decides about: those nearest to it, and its worst mistakes either way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from studio.plan.cascade import Cascade, Sample
from studio.plan.deferral import Operation, mistakes, nearest
from studio.ui import text
from studio.ui.desk import Desk
from studio.ui.theme import Theme
from studio.ui.widgets.labels import Steady, label
from studio.ui.widgets.sheet import Cell, Sheet

NEAR = 8
"""Pictures shown of each kind."""
SIZE = 56
"""Of a picture, px."""


class CascadePictures(QSplitter):
    """At the left just below and just above the threshold, at the right wrongly kept and deferred in vain."""

    def __init__(self, desk: Desk, theme: Theme) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setChildrenCollapsible(False)
        self._desk = desk
        self._cascade: Cascade | None = None
        self.below = Sheet(desk.pictures, theme, "Pictures just below the threshold", size=SIZE)
        self.above = Sheet(desk.pictures, theme, "Pictures just above the threshold", size=SIZE)
        self.kept = Sheet(desk.pictures, theme, "Worst light pictures that are kept", size=SIZE)
        self.deferred = Sheet(desk.pictures, theme, "Prompts deferred for the least", size=SIZE)
        self._below_word, self._above_word = label("", "small"), label("", "small")
        self._kept_word, self._deferred_word = label("", "small"), label("", "small")
        for rows in (
            ((self._below_word, self.below), (self._above_word, self.above)),
            ((self._kept_word, self.kept), (self._deferred_word, self.deferred)),
        ):
            side = QWidget()
            column = QVBoxLayout(side)
            column.setContentsMargins(0, 0, 8, 0)
            column.setSpacing(2)
            for word, sheet in rows:
                column.addWidget(Steady(word))
                column.addWidget(sheet)
            column.addStretch(1)
            self.addWidget(side)
        self.show_cascade(None)

    def show_cascade(self, cascade: Cascade | None) -> None:
        """The pair whose pictures are shown."""
        self._cascade = cascade
        samples = () if cascade is None else cascade.samples
        self._scores = np.array([one.score for one in samples])
        self._gains = np.array([one.heavy_quality - one.light_quality for one in samples])
        self._defer = np.array([one.defer for one in samples], dtype=bool)
        self._by_score = self._cells(samples, (text.number(score) for score in self._scores))
        self._by_gain = self._cells(samples, (f"{gain * 100:+.0f}" for gain in self._gains))
        if cascade is None:
            for sheet in (self.below, self.above, self.kept, self.deferred):
                sheet.show_cells([])
            self._below_word.setText("Just below the threshold: deferred")
            self._above_word.setText("Just above the threshold: the light picture is kept")
            self._kept_word.setText("Worst mistakes: kept, though heavy is better")
            self._deferred_word.setText("Worst mistakes: deferred, though heavy is no better")

    def show_operation(self, one: Operation) -> None:
        """The pictures of one threshold."""
        if self._cascade is None:
            return
        below, above = nearest(self._scores, one.threshold, NEAR)
        wrongly, in_vain = mistakes(self._scores, self._gains, self._defer, one.threshold, len(self._scores))
        self.below.show_cells([self._by_score[place] for place in below])
        self.above.show_cells([self._by_score[place] for place in above])
        self.kept.show_cells([self._by_gain[place] for place in wrongly[:NEAR]])
        self.deferred.show_cells([self._by_gain[place] for place in in_vain[:NEAR]])
        at = text.number(one.threshold)
        self._below_word.setText(f"Just below {at}: deferred (light, heavy)")
        self._above_word.setText(f"From {at} up: the light picture is kept (light, heavy)")
        self._kept_word.setText(f"Kept though heavy is better: {len(wrongly)}, worst first (light, heavy)")
        self._deferred_word.setText(
            f"Deferred though heavy is no better: {len(in_vain)}, worst first (light, heavy)"
        )

    def _cells(self, samples: Sequence[Sample], remarks: Iterable[str]) -> list[Cell]:
        made = []
        for sample, remark in zip(samples, remarks, strict=True):
            paths = [self._desk.run.picture(name) for name in (sample.light_image, sample.heavy_image)]
            made.append(Cell(sample.prompt, remark, tuple(path for path in paths if path is not None)))
        return made
