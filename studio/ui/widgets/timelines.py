"""A simulated trace over time, policies over each other: what waits, what is late, what is deferred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QColor, QPen
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.plan.outcome import Outcome
from studio.ui import text
from studio.ui.theme import SMALL, Theme

ROWS: Final = (
    ("Arrivals", "per second"),
    ("Waiting", "for heavy"),
    ("Late", "per second"),
    ("Deferred", "share"),
)
SMOOTH: Final = 5
"""Seconds over which rates and shares are averaged."""
DASHED: Final = frozenset({"clipper-light", "clipper-heavy", "diffserve-shortest"})
COLOURS: Final[Mapping[str, int]] = {
    "ours": 0,
    "diffserve": 1,
    "diffserve-shortest": 1,
    "blind": 2,
    "static": 6,
    "heavy": 5,
    "clipper-heavy": 5,
    "light": 7,
    "clipper-light": 7,
}


def ink(theme: Theme, policy: str) -> QColor:
    """The colour of a policy, the same in plot and table."""
    return QColor(theme.tokens.series[COLOURS.get(policy, 3)])


def averaged(values: NDArray[np.float64], seconds: int = SMOOTH) -> NDArray[np.float64]:
    """Mean over the last `seconds` values, those that are NaN left out."""
    known = ~np.isnan(values)
    total = np.cumsum(np.where(known, values, 0.0))
    count = np.cumsum(known)
    total[seconds:] -= total[:-seconds].copy()
    count = count.astype(np.float64)
    count[seconds:] -= count[:-seconds].copy()
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


class Timelines(QWidget):
    """Rows with one time axis; zoom and pan go together."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._outcomes: list[Outcome] = []
        self._shown: set[str] = set()
        self.setAccessibleName("Simulated traffic over time")
        self.setMinimumSize(300, 240)
        self._graphics = pg.GraphicsLayoutWidget()
        self._graphics.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._graphics.ci.layout.setSpacing(2)
        self._graphics.ci.layout.setContentsMargins(2, 4, 8, 2)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._graphics)
        self._plots: list[Any] = []
        for at, (name, unit) in enumerate(ROWS):
            plot = self._graphics.addPlot(row=at, col=0, enableMenu=False)
            # pyqtgraph leaves the menu of every plot behind; with a parent it goes with the window.
            plot.ctrlMenu.setParent(self, plot.ctrlMenu.windowFlags())
            plot.hideButtons()
            plot.setMouseEnabled(x=True, y=False)
            plot.showGrid(x=True, y=True, alpha=0.12)
            plot.getAxis("left").setLabel(f"{name}<br>{unit}")
            if at:
                plot.setXLink(self._plots[0])
            if at < len(ROWS) - 1:
                plot.getAxis("bottom").setStyle(showValues=False)
            self._plots.append(plot)
        self._plots[-1].getAxis("bottom").setLabel("seconds of the trace")
        self._plots[-1].setYRange(0, 1, padding=0.05)
        self._graphics.ci.layout.setRowStretchFactor(len(ROWS) - 1, 3)
        for at in range(len(ROWS) - 1):
            self._graphics.ci.layout.setRowStretchFactor(at, 2)
        theme.changed.connect(self._restyle)
        self._restyle()

    def sizeHint(self) -> QSize:
        return QSize(700, 380)

    def show_outcomes(self, outcomes: Sequence[Outcome], shown: set[str]) -> None:
        """Draw those of `outcomes` whose policy is in `shown`."""
        self._outcomes, self._shown = list(outcomes), set(shown)
        self._draw()

    def curves(self) -> dict[str, int]:
        """How many curves each row has, by its name."""
        return {name: len(plot.listDataItems()) for (name, _), plot in zip(ROWS, self._plots, strict=True)}

    def _draw(self) -> None:
        for plot in self._plots:
            plot.clear()
        if not self._outcomes:
            self.setAccessibleDescription("nothing simulated yet")
            return
        first = self._outcomes[0].timeline
        muted = QPen(QColor(self._theme.tokens.muted), 1.5 * self.devicePixelRatioF())
        muted.setCosmetic(True)
        self._plots[0].plot(first.seconds, averaged(first.arrivals), pen=muted)
        words = []
        for one in sorted(self._outcomes, key=lambda outcome: outcome.policy == "ours"):
            if one.policy not in self._shown:
                continue
            line = one.timeline
            pen = QPen(
                ink(self._theme, one.policy),
                (2.2 if one.policy == "ours" else 1.4) * self.devicePixelRatioF(),
            )
            pen.setCosmetic(True)
            if one.policy in DASHED:
                pen.setStyle(Qt.PenStyle.DashLine)
            for plot, values in zip(
                self._plots[1:],
                (line.heavy_queue, averaged(line.late), averaged(line.deferred)),
                strict=True,
            ):
                plot.plot(line.seconds, values, pen=pen, connect="finite")
            words.append(
                f"{one.title}: {text.percent(one.late.value)} late, {text.percent(one.deferred)} deferred"
            )
        self._plots[0].setXRange(0, float(first.seconds[-1]) + 1, padding=0.01)
        self.setAccessibleDescription("; ".join(words))

    def _restyle(self) -> None:
        tokens = self._theme.tokens
        self._graphics.setBackground(QColor(tokens.surface))
        font = self._theme.font(SMALL)
        line = QPen(QColor(tokens.line), 1)
        line.setCosmetic(True)
        for plot in self._plots:
            for side in ("left", "bottom"):
                axis = plot.getAxis(side)
                axis.setPen(line)
                axis.setTextPen(QColor(tokens.muted))
                axis.setStyle(tickFont=font, tickLength=-4)
                axis.label.setFont(font)
            plot.getAxis("left").setWidth(round(74 * self._theme.scale))
        self._draw()
