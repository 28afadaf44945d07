"""The plot of latency against quality loss: every candidate by shape, colour and place.

    ★ baseline   ● front (staircase)   ○ dominated   ◌ being evaluated (around its parent)
    ▲ quarantined   ✕ failed, in a lane of their own above
    ◇ around a point: its engines were not verified on the device that they were built for

Size says memory, older generations fade.  The table under the plot says the
same in words; `accessibleDescription` sums the front up.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QObject, QPointF, QSize, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QKeyEvent, QMouseEvent, QPen
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.record.state import CandidateState
from studio.ui import text
from studio.ui.models.run import Changes, RunModel, Standing
from studio.ui.pictures import Pictures
from studio.ui.theme import SMALL, Theme, mixed
from studio.ui.widgets.hover_card import HoverCard
from studio.ui.widgets.inks import Inks, log_ticks

SYMBOLS: Final[dict[Standing, str]] = {
    "baseline": "star",
    "running": "o",
    "front": "o",
    "passed": "o",
    "failed": "x",
    "quarantined": "t1",
}
REACH: Final = 14.0
"""Pixels from the pointer within which a point is meant."""
AGES: Final = (1.0, 0.75, 0.55, 0.4)
"""Opacity by age in generations."""


class ParetoPlot(QWidget):
    """Live plot of a run.

    Signals:
        selected(str): a candidate was chosen by mouse or keys.
        opened(str): a candidate was double-clicked: compare it.
    """

    selected = Signal(str)
    opened = Signal(str)

    def __init__(
        self, run: RunModel, theme: Theme, pictures: Pictures, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._run, self._theme = run, theme
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Plot of latency against quality loss")
        self.setMinimumSize(320, 220)
        self._selected = ""
        self._hovered = ""
        self._limits: tuple[float | None, float | None] = (None, None)
        self._places: dict[str, tuple[float, float]] = {}
        self._lane_places: dict[str, float] = {}
        self._own_range = False
        self._inks = Inks(self)

        self._graphics = pg.GraphicsLayoutWidget()
        self._graphics.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._graphics.ci.layout.setSpacing(0)
        self._graphics.ci.layout.setContentsMargins(4, 4, 8, 6)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addWidget(self._graphics)
        self._build()
        self._card = HoverCard(run, pictures, self)
        self._graphics.viewport().installEventFilter(self)
        scene = self._graphics.scene()
        scene.sigMouseMoved.connect(self._on_moved)
        scene.sigMouseClicked.connect(self._on_clicked)
        run.changed.connect(self._on_changed)
        theme.changed.connect(self._restyle)
        self._restyle()

    def _build(self) -> None:
        self._lane = self._graphics.addPlot(row=0, col=0, enableMenu=False)
        self._lane.setMaximumHeight(26)
        self._lane.setMouseEnabled(x=False, y=False)
        self._lane.hideAxis("bottom")
        self._lane.setYRange(-1, 1, padding=0)
        self._lane.hideButtons()
        self._plot = self._graphics.addPlot(row=1, col=0, enableMenu=False)
        self._plot.hideButtons()
        self._plot.showGrid(x=True, y=True, alpha=0.12)
        for plot in (self._lane, self._plot):
            # pyqtgraph leaves the menu of every plot behind; with a parent it goes with the window.
            plot.ctrlMenu.setParent(self, plot.ctrlMenu.windowFlags())
        view = self._plot.getViewBox()
        view.sigXRangeChanged.connect(self._on_x_range)
        view.sigRangeChangedManually.connect(self._on_manual_range)
        self._scatter: dict[Standing, Any] = {}
        self._too_slow = pg.LinearRegionItem(movable=False)
        self._too_poor = pg.LinearRegionItem(orientation="horizontal", movable=False)
        for region in (self._too_slow, self._too_poor):
            region.setZValue(-20)
            region.hide()
            self._plot.addItem(region, ignoreBounds=True)
        self._stairs = pg.PlotCurveItem()
        self._stairs.setZValue(1)
        self._plot.addItem(self._stairs)
        self._bars = [pg.ErrorBarItem(x=np.zeros(1), y=np.zeros(1)) for _ in range(2)]
        for bar in self._bars:
            bar.hide()
            bar.setZValue(2)
            self._plot.addItem(bar, ignoreBounds=True)
        for standing in ("passed", "quarantined", "front", "baseline", "running", "failed"):
            item = pg.ScatterPlotItem(symbol=SYMBOLS[standing], pxMode=True)
            item.setZValue(3)
            self._scatter[standing] = item
            (self._lane if standing == "failed" else self._plot).addItem(item)
        self._ring = pg.ScatterPlotItem(symbol="o", pxMode=True)
        self._ring.setZValue(4)
        self._plot.addItem(self._ring)
        self._lane_ring = pg.ScatterPlotItem(symbol="o", pxMode=True)
        self._lane.addItem(self._lane_ring)
        self._elsewhere = pg.ScatterPlotItem(symbol="d", pxMode=True)
        self._elsewhere.setZValue(2)
        self._plot.addItem(self._elsewhere)
        self._knee = pg.TextItem("knee", anchor=(1.4, 0.5))
        self._faster = pg.TextItem("← faster", anchor=(0, 1))
        self._better = pg.TextItem("↓ better", anchor=(0, 0))
        for words in (self._knee, self._faster, self._better):
            words.setZValue(5)
            self._plot.addItem(words, ignoreBounds=True)
        self._knee.hide()

    # -- what it shows --------------------------------------------------------------------------

    def sizeHint(self) -> QSize:
        return QSize(760, 420)

    @property
    def selection(self) -> str:
        return self._selected

    def select(self, name: str) -> None:
        """Mark a candidate; does not emit `selected`."""
        self._selected = name if name in self._run.state.candidates else ""
        self._mark()

    def set_limits(self, latency: float | None, loss: float | None) -> None:
        """The user's budget: seconds per image and loss; what fails it is shaded."""
        self._limits = (latency, loss)
        for region, limit in ((self._too_slow, latency and math.log10(latency)), (self._too_poor, loss)):
            region.setVisible(limit is not None)
            if limit is not None:
                region.setRegion((limit, limit + 1e3))

    def points(self) -> dict[str, tuple[float, float]]:
        """Where candidates stand: name to (log10 seconds, loss)."""
        return dict(self._places)

    def failures(self) -> list[str]:
        """Names in the lane of failed candidates."""
        return list(self._lane_places)

    def show_all(self) -> None:
        """Undo zoom and pan."""
        self._own_range = False
        self._fit()

    def summary(self) -> str:
        """The front in words."""
        state = self._run.state
        parts = []
        for name in state.front:
            verdict = state.candidates[name].verdict if name in state.candidates else None
            if verdict is not None and verdict.latency is not None and verdict.loss is not None:
                parts.append(
                    f"{name} {text.seconds(verdict.latency.value)} loss "
                    f"{text.loss(verdict.loss.value, self._run.metric)}"
                )
        head = (
            f"{len(state.candidates)} candidates, {len(parts)} on the front, {len(self._lane_places)} failed."
        )
        if parts:
            head += f" From fastest to best: {'; '.join(parts)}."
        elsewhere = self.elsewhere()
        return f"{head} Not verified where built for: {', '.join(elsewhere)}." if elsewhere else head

    def elsewhere(self) -> list[str]:
        """Names of those whose engines were not verified on the device that they were built for."""
        found = self._run.state.candidates
        return [name for name in self._places if (one := found[name].verdict) and one.verified_elsewhere]

    # -- keys and mouse -------------------------------------------------------------------------

    def step(self, by: int) -> None:
        """Walk along the front, from fastest (first) to best (last)."""
        front = [name for name in self._run.state.front if name in self._places]
        if not front:
            return
        at = front.index(self._selected) + by if self._selected in front else (0 if by > 0 else -1)
        self._choose(front[max(0, min(len(front) - 1, at)) if at >= 0 or self._selected in front else -1])

    def select_knee(self) -> None:
        if self._run.state.knee:
            self._choose(self._run.state.knee)

    def open_selected(self) -> None:
        if self._selected:
            self.opened.emit(self._selected)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self._choose("")
            return
        super().keyPressEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.FontChange:
            self._restyle()
        super().changeEvent(event)

    def focusInEvent(self, event: Any) -> None:
        super().focusInEvent(event)
        self._frame()

    def focusOutEvent(self, event: Any) -> None:
        super().focusOutEvent(event)
        self._frame()

    def leaveEvent(self, event: QEvent) -> None:
        self._hover("")
        super().leaveEvent(event)

    def nearest(self, at: QPointF) -> str:
        """The candidate within reach of a point of the scene, or nothing."""
        best, found = REACH, ""
        for places, plot in ((self._places, self._plot), (self._lane_places, self._lane)):
            view = plot.getViewBox()
            if not plot.sceneBoundingRect().contains(at):
                continue
            for name, place in places.items():
                x, y = place if isinstance(place, tuple) else (place, 0.0)
                where = view.mapViewToScene(QPointF(x, y))
                distance = math.hypot(where.x() - at.x(), where.y() - at.y())
                if distance < best:
                    best, found = distance, name
        return found

    def scene_place(self, name: str) -> QPointF | None:
        """Where a candidate is drawn, in this widget's pixels."""
        if name in self._places:
            point = self._plot.getViewBox().mapViewToScene(QPointF(*self._places[name]))
        elif name in self._lane_places:
            point = self._lane.getViewBox().mapViewToScene(QPointF(self._lane_places[name], 0))
        else:
            return None
        inside = self._graphics.mapFromScene(point)
        return QPointF(self._graphics.mapTo(self, inside))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.MouseButtonDblClick and isinstance(event, QMouseEvent):
            name = self.nearest(self._graphics.mapToScene(event.position().toPoint()))
            if name:
                self.opened.emit(name)
                return True
        return super().eventFilter(watched, event)

    def _on_moved(self, at: QPointF) -> None:
        self._hover(self.nearest(at))

    def _on_clicked(self, event: Any) -> None:
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        if event.button() != Qt.MouseButton.LeftButton:
            return
        name = self.nearest(event.scenePos())
        if name:
            self._choose(name)

    def _choose(self, name: str) -> None:
        self._selected = name
        self._mark()
        self.selected.emit(name)

    def _hover(self, name: str) -> None:
        if name == self._hovered:
            return
        self._hovered = name
        place = self.scene_place(name) if name else None
        if place is None:
            self._card.hide()
        else:
            self._card.show_candidate(name, place)
        self._error_bars()

    # -- drawing --------------------------------------------------------------------------------

    def _on_changed(self, changes: Changes) -> None:
        if changes.everything:
            self._own_range = False
            self._selected = self._selected if self._selected in self._run.state.candidates else ""
            self._label_axes()
        if changes.everything or changes.added or changes.updated or changes.front:
            self._draw()

    def _draw(self) -> None:
        state, tokens = self._run.state, self._theme.tokens
        spots: dict[Standing, list[dict[str, Any]]] = {standing: [] for standing in self._scatter}
        self._places, self._lane_places = {}, {}
        running: list[tuple[str, CandidateState]] = []
        elsewhere: list[dict[str, Any]] = []
        memories = [
            c.verdict.held for c in state.candidates.values() if c.verdict and c.verdict.held is not None
        ]
        least, most = (min(memories), max(memories)) if memories else (0.0, 0.0)
        hollow = self._inks.brush(tokens.ground, 0.0)
        for name, candidate in state.candidates.items():
            standing = self._run.standing(name)
            verdict = candidate.verdict
            age = AGES[min(len(AGES) - 1, max(0, state.generation - candidate.proposal.generation))]
            if standing == "running":
                running.append((name, candidate))
                continue
            if standing == "declined":
                continue
            if verdict is None or verdict.latency is None or verdict.loss is None:
                self._lane_places[name] = float(len(self._lane_places))
                mark = tokens.bad if standing == "failed" else tokens.warn
                spots["failed"].append(
                    {
                        "pos": (self._lane_places[name], 0),
                        "size": 10,
                        "pen": self._inks.pen(mark, 1, age),
                        "brush": self._inks.brush(mark, age),
                    }
                )
                continue
            place = (math.log10(max(verdict.latency.value, 1e-6)), verdict.loss.value)
            self._places[name] = place
            held = verdict.held
            share = 0.0 if most <= least or held is None else (held - least) / (most - least)
            size = (9 + 9 * math.sqrt(share)) * self._theme.scale**0.5
            look: dict[Standing, tuple[QPen, QBrush, float]] = {
                "baseline": (self._inks.pen(tokens.ground), self._inks.brush(tokens.warn), max(18.0, size)),
                "front": (self._inks.pen(tokens.ground), self._inks.brush(tokens.accent), size),
                "passed": (self._inks.pen(tokens.muted, 2, age), hollow, size),
                "failed": (self._inks.pen(tokens.bad, 2, age), hollow, size),
                "quarantined": (
                    self._inks.pen(tokens.warn, 2),
                    self._inks.brush(tokens.warn, 0.35),
                    size + 3,
                ),
                "running": (self._inks.pen(tokens.accent, 2), hollow, size),
            }
            pen, brush, width = look[standing]
            target: Standing = "passed" if standing == "failed" else standing
            spots[target].append({"pos": place, "size": width, "pen": pen, "brush": brush})
            if verdict.verified_elsewhere:
                edge = self._inks.pen(tokens.warn, 2)
                elsewhere.append({"pos": place, "size": width + 14, "pen": edge, "brush": hollow})
        for name, candidate in running:
            around = next((self._places[p] for p in candidate.proposal.parents if p in self._places), None)
            around = around or self._places.get("c000")
            if around is not None:
                self._places.setdefault(name, around)
                spots["running"].append(
                    {"pos": around, "size": 26, "pen": self._inks.pen(tokens.accent, 2), "brush": hollow}
                )
        for standing, item in self._scatter.items():
            item.setData(spots[standing])
        self._elsewhere.setData(elsewhere)
        self._lane.setXRange(-0.8, max(24.0, len(self._lane_places) + 0.0), padding=0)
        self._draw_front()
        if not self._own_range:
            self._fit()
        self._mark()
        self.setAccessibleDescription(self.summary())

    def _draw_front(self) -> None:
        state = self._run.state
        front = sorted(self._places[name] for name in state.front if name in self._places)
        if not front:
            self._stairs.setData([], [])
            self._knee.hide()
            return
        xs, ys = [front[0][0]], [front[0][1] + 10]
        for x, y in front:
            xs += [x, x]
            ys += [ys[-1] if len(ys) > 1 else y, y]
        self._stairs.setData(np.array([*xs, xs[-1] + 10]), np.array([*ys, ys[-1]]))
        self._knee.setVisible(state.knee in self._places)
        if state.knee in self._places:
            self._knee.setPos(*self._places[state.knee])

    def _fit(self) -> None:
        if not self._places:
            self._plot.setRange(xRange=(-2, 0.5), yRange=(-0.01, 0.1), padding=0)
            return
        xs, ys = zip(*self._places.values(), strict=True)
        wide = max(max(xs) - min(xs), 0.3)
        high = max(max(ys) - min(0.0, *ys), 1e-3)
        self._plot.setRange(
            xRange=(min(xs) - 0.08 * wide, max(xs) + 0.1 * wide),
            yRange=(min(0.0, *ys) - 0.06 * high, max(ys) + 0.12 * high),
            padding=0,
        )

    def _mark(self) -> None:
        place, lane = self._places.get(self._selected), self._lane_places.get(self._selected)
        pen = self._inks.pen(self._theme.tokens.text, 2)
        none = self._inks.brush(self._theme.tokens.ground, 0.0)
        self._ring.setData([{"pos": place, "size": 24, "pen": pen, "brush": none}] if place else [])
        self._lane_ring.setData(
            [{"pos": (lane, 0), "size": 17, "pen": pen, "brush": none}] if lane is not None else []
        )
        self._error_bars()

    def _error_bars(self) -> None:
        for bar, name in zip(self._bars, (self._selected, self._hovered), strict=True):
            candidate = self._run.state.candidates.get(name)
            verdict = candidate.verdict if candidate else None
            if verdict is None or verdict.latency is None or verdict.loss is None:
                bar.hide()
                continue
            x, y = math.log10(max(verdict.latency.value, 1e-6)), verdict.loss
            bar.setData(
                x=np.array([x]),
                y=np.array([y.value]),
                left=np.array([x - math.log10(max(verdict.latency.low, 1e-6))]),
                right=np.array([math.log10(max(verdict.latency.high, 1e-6)) - x]),
                top=np.array([y.high - y.value]),
                bottom=np.array([y.value - y.low]),
                beam=0.0,
                pen=self._inks.pen(self._theme.tokens.text, 1, 0.7),
            )
            bar.show()

    def _label_axes(self) -> None:
        metric = self._run.metric
        factor, unit = text.scaled(metric) if metric else (1.0, "")
        colour = self._theme.tokens.muted
        size = f"{round(SMALL * self._theme.scale)}px"
        left, bottom = self._plot.getAxis("left"), self._plot.getAxis("bottom")
        title = metric.title if metric else "Quality loss"
        left.setScale(factor)
        left.setLabel(f"{title} ({unit})" if unit else title, color=colour, **{"font-size": size})
        bottom.setLabel("Latency per image, whole pipeline (log)", color=colour, **{"font-size": size})
        left.enableAutoSIPrefix(False)
        bottom.enableAutoSIPrefix(False)
        lane = self._lane.getAxis("left")
        lane.setTicks([[(0, "failed")]])

    def _restyle(self) -> None:
        tokens = self._theme.tokens
        self._inks.clear()
        self._graphics.setBackground(QColor(tokens.surface))
        font = self._theme.font(SMALL)
        for plot in (self._plot, self._lane):
            for side in ("left", "bottom"):
                axis = plot.getAxis(side)
                axis.setPen(self._inks.pen(tokens.line))
                axis.setTextPen(QColor(tokens.muted))
                axis.setStyle(tickFont=font, tickLength=-4)
            plot.getAxis("left").setWidth(round(58 * self._theme.scale))
        self._lane.getAxis("left").setStyle(tickLength=0)
        self._lane.getViewBox().setBackgroundColor(QColor(mixed(tokens.surface, tokens.bad, 0.06)))
        self._stairs.setPen(self._inks.pen(tokens.accent, 2, 0.8))
        for region in (self._too_slow, self._too_poor):
            region.setBrush(self._inks.brush(tokens.bad, 0.08))
            for line in region.lines:
                line.setPen(self._inks.pen(tokens.bad, 1, 0.8))
        for words in (self._knee, self._faster, self._better):
            words.setFont(font)
            words.setColor(QColor(tokens.muted))
        self._label_axes()
        self._frame()
        self._draw()

    def _frame(self) -> None:
        ring = self._theme.tokens.accent if self.hasFocus() else self._theme.tokens.line
        self._graphics.setStyleSheet(
            f"border: {2 if self.hasFocus() else 1}px solid {ring}; border-radius: 6px;"
        )

    def _on_manual_range(self, *_: object) -> None:
        self._own_range = True

    def _on_x_range(self, *_: object) -> None:
        (low, high), (bottom, top) = self._plot.getViewBox().viewRange()
        self._plot.getAxis("bottom").setTicks([log_ticks(low, high), []])
        self._faster.setPos(low, bottom)
        self._better.setPos(low, top)
        self._faster.setAnchor((-0.05, 1))
        self._better.setAnchor((-0.05, 0))
