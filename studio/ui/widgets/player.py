"""A clip's transport: play, pause, one frame at a time, and how far B is from A by frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QHideEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QSizePolicy, QSlider, QVBoxLayout, QWidget

from studio.ui import text
from studio.ui.theme import SMALL, Theme
from studio.ui.widgets.labels import label

FRAME: Final = 125
"""ms that a frame is shown."""
Curves = Mapping[str, tuple[float, ...]]


class Curve(QWidget):
    """One metric by frame, the current frame marked.

    Signals:
        chosen(int): a frame was clicked.
    """

    chosen = Signal(int)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._values: tuple[float, ...] = ()
        self._name = ""
        self._at = 0
        self.setAccessibleName("Metric by frame")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(320, 64)

    def show_values(self, name: str, values: tuple[float, ...]) -> None:
        self._name, self._values = name, values
        worst = (
            f", from {text.metric(name, min(values))} to {text.metric(name, max(values))}" if values else ""
        )
        self.setAccessibleDescription(f"{text.METRIC_TITLES.get(name, name)} of {len(values)} frames{worst}")
        self.update()

    def show_frame(self, at: int) -> None:
        self._at = at
        self.update()

    def paintEvent(self, _: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = self._area()
        painter.setPen(QPen(self._theme.colour("line"), 1))
        painter.drawRect(area)
        if self._values:
            self._paint(painter, area)
        painter.end()

    def _paint(self, painter: QPainter, area: QRectF) -> None:
        low, high = min(self._values), max(self._values)
        span = (high - low) or 1.0
        height = area.height() - 8
        points = [
            QPointF(self._x(area, number), area.bottom() - 4 - (value - low) / span * height)
            for number, value in enumerate(self._values)
        ]
        painter.setPen(QPen(self._theme.colour("accent"), 2))
        painter.drawPolyline(points)
        at = min(self._at, len(self._values) - 1)
        painter.setPen(QPen(self._theme.colour("text"), 1))
        painter.drawLine(QPointF(points[at].x(), area.top()), QPointF(points[at].x(), area.bottom()))
        painter.setBrush(self._theme.colour("accent"))
        painter.drawEllipse(points[at], 4, 4)
        painter.setFont(self._theme.font(SMALL))
        painter.setPen(self._theme.colour("muted"))
        side = QRectF(0, area.top(), area.left() - 6, area.height())
        right = Qt.AlignmentFlag.AlignRight
        painter.drawText(side, right | Qt.AlignmentFlag.AlignTop, text.metric(self._name, high))
        painter.drawText(side, right | Qt.AlignmentFlag.AlignBottom, text.metric(self._name, low))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        area, count = self._area(), len(self._values)
        if count:
            share = (event.position().x() - area.left()) / max(1.0, area.width())
            self.chosen.emit(max(0, min(count - 1, round(share * (count - 1)))))

    def _area(self) -> QRectF:
        return QRectF(72, 2, self.width() - 76, self.height() - 4)

    def _x(self, area: QRectF, number: int) -> float:
        return area.left() + area.width() * number / max(1, len(self._values) - 1)


class Player(QWidget):
    """Play and pause, a slider over the frames, the curve of one metric.

    Signals:
        moved(int): another frame is to be shown, counted from 0.
    """

    moved = Signal(int)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._frames = 0
        self._curves: Curves = {}
        self.ready = True
        """Whether the frame on show is complete; playing waits for it."""
        self.play = QPushButton("▶ Play")
        self.play.setCheckable(True)
        self.play.setAccessibleName("Play the clips")
        self.play.setToolTip("Play or pause both clips, locked to the same frame")
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName("Frame")
        self.number = label("", "small")
        self.number.setFont(theme.fixed(11))
        self.measure = QComboBox()
        self.measure.setAccessibleName("Metric by frame")
        self.curve = Curve(theme)
        line = QHBoxLayout()
        for widget in (self.play, self.slider, self.number, self.measure):
            line.addWidget(widget, 1 if widget is self.slider else 0)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(line)
        column.addWidget(self.curve)
        self._timer = QTimer(self, interval=FRAME)
        self._timer.timeout.connect(self._step)
        self.play.toggled.connect(self._on_play)
        self.slider.valueChanged.connect(self._on_frame)
        self.measure.currentIndexChanged.connect(self._show_curve)
        self.curve.chosen.connect(self.slider.setValue)
        self.hide()

    @property
    def frame(self) -> int:
        return self.slider.value() if self._frames else 0

    def show_clip(self, frames: int, curves: Curves) -> None:
        """Another clip; 0 frames: a picture, and this is hidden.  The frame and the metric stay."""
        self._frames, self._curves = frames, curves
        self.setVisible(frames > 0)
        if not frames:
            self.play.setChecked(False)
            return
        self.slider.setRange(0, frames - 1)
        chosen = self.measure.currentData()
        self.measure.blockSignals(True)
        self.measure.clear()
        for name in curves:
            self.measure.addItem(text.METRIC_TITLES.get(name, name), name)
        self.measure.setCurrentIndex(max(0, self.measure.findData(chosen)))
        self.measure.blockSignals(False)
        self.measure.setVisible(bool(curves))
        self.curve.setVisible(bool(curves))
        self._show_curve()
        self._tell()

    def _show_curve(self) -> None:
        name = self.measure.currentData()
        self.curve.show_values(str(name or ""), self._curves.get(name, ()) if name else ())
        self.curve.show_frame(self.frame)
        self._tell()

    def _tell(self) -> None:
        name = self.measure.currentData()
        values = self._curves.get(name, ()) if name else ()
        shown = f"  {text.metric(name, values[self.frame])}" if self.frame < len(values) else ""
        self.number.setText(f"frame {self.frame + 1}/{self._frames}{shown}")

    def _on_play(self, on: bool) -> None:
        self.play.setText("❚❚ Pause" if on else "▶ Play")
        self._timer.start() if on else self._timer.stop()

    def _step(self) -> None:
        if self.ready and self._frames:
            self.slider.setValue((self.slider.value() + 1) % self._frames)

    def _on_frame(self, at: int) -> None:
        self.curve.show_frame(at)
        self._tell()
        self.moved.emit(at)

    def hideEvent(self, event: QHideEvent) -> None:
        self.play.setChecked(False)
        super().hideEvent(event)
