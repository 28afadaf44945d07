"""The two curves of a cascade over the share that is deferred: what it is worth and how long it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap, QPolygonF
from PySide6.QtWidgets import QWidget

from studio.plan.deferral import Operation
from studio.ui import text
from studio.ui.theme import SMALL, Theme

GAP: Final = 18


class DeferralCurves(QWidget):
    """Quality above, seconds below, one threshold through both.

    Signals:
        moved(int): the index of an operation that was pointed at with the mouse.
    """

    moved = Signal(int)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._curve: Sequence[Operation] = ()
        self._at = 0
        self._budget: float | None = None
        self._show_quality: Callable[[float], str] = text.number
        self._still: QPixmap | None = None
        """All that stays where the threshold moves: drawing it each time would cost most of a frame."""
        self._lines: tuple[tuple[QColor, QPolygonF], ...] = ()
        """Both curves' points, one for each operation, as they are drawn."""
        self.setMinimumSize(320, 200)
        self.setAccessibleName("Quality and latency over the share that is deferred")
        self.setCursor(Qt.CursorShape.SplitHCursor)
        theme.changed.connect(self._redraw)

    def sizeHint(self) -> QSize:
        return QSize(560, 260)

    def show_curve(self, curve: Sequence[Operation], show_quality: Callable[[float], str]) -> None:
        self._curve, self._show_quality = curve, show_quality
        self._at = min(self._at, max(0, len(curve) - 1))
        self._redraw()

    def set_at(self, at: int) -> None:
        self._at = at
        self.update()

    def set_budget(self, seconds: float | None) -> None:
        """A line at the most seconds per image that are allowed."""
        self._budget = seconds
        self._redraw()

    def _redraw(self) -> None:
        self._still = None
        self.update()

    def _areas(self) -> tuple[QRectF, QRectF]:
        scale = self._theme.scale
        left, right, bottom = 62 * scale, 12.0, 34 * scale
        height = (self.height() - bottom - GAP - 26) / 2
        width = self.width() - left - right
        return QRectF(left, 20, width, height), QRectF(left, 20 + height + GAP, width, height)

    def paintEvent(self, _: QPaintEvent) -> None:
        ratio = self.devicePixelRatioF()
        if self._still is None or self._still.size() != self.size() * ratio:
            self._still = QPixmap(self.size() * ratio)
            self._still.setDevicePixelRatio(ratio)
            self._still.fill(Qt.GlobalColor.transparent)
            self._draw_still(self._still)
        painter = QPainter(self)
        painter.drawPixmap(0, 0, self._still)
        if self._curve:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(self._theme.colour("surface"), 1.5))
            for colour, points in self._lines:
                painter.setBrush(colour)
                painter.drawEllipse(points.at(self._at), 5, 5)
            self._draw_handle(painter, *self._areas())
        painter.end()

    def _draw_still(self, pixmap: QPixmap) -> None:
        """The frame, both curves and their axes."""
        painter = QPainter(pixmap)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(self._theme.colour("line"), 1))
        painter.setBrush(self._theme.colour("surface"))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setFont(self._theme.font(SMALL))
        upper, lower = self._areas()
        if not self._curve:
            painter.setPen(self._theme.colour("muted"))
            painter.drawText(
                self.rect(), Qt.AlignmentFlag.AlignCenter, "The curves appear once a discriminator is trained"
            )
            painter.end()
            return
        first, second = (QColor(name) for name in self._theme.tokens.series[:2])
        qualities = [(one.quality.low, one.quality.value, one.quality.high) for one in self._curve]
        seconds = [(one.seconds.low, one.seconds.value, one.seconds.high) for one in self._curve]
        controls = [one.control for one in self._curve]
        worth = self._draw(painter, upper, qualities, first, "Quality", self._show_quality, controls)
        time = self._draw(painter, lower, seconds, second, "Latency", text.seconds, budget=self._budget)
        self._lines = ((first, worth), (second, time))
        self._draw_axis(painter, lower)
        painter.end()

    def _draw(
        self,
        painter: QPainter,
        area: QRectF,
        values: list[tuple[float, float, float]],
        colour: QColor,
        title: str,
        show: Callable[[float], str],
        control: list[float] | None = None,
        budget: float | None = None,
    ) -> QPolygonF:
        """Draw one curve with its interval; its points."""
        low = min(one[0] for one in values)
        high = max(one[2] for one in values)
        if budget is not None:
            low, high = min(low, budget), max(high, budget)
        span = (high - low) or 1.0
        low, high = low - 0.08 * span, high + 0.08 * span

        def place(at: int, value: float) -> QPointF:
            share = self._curve[at].share
            return QPointF(
                area.left() + share * area.width(),
                area.bottom() - (value - low) / (high - low) * area.height(),
            )

        painter.setPen(QPen(self._theme.colour("line"), 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        painter.drawLine(area.topLeft(), area.bottomLeft())
        painter.setPen(self._theme.colour("muted"))
        for part in (0.12, 0.5, 0.88):
            value = low + (high - low) * part
            y = area.bottom() - part * area.height()
            painter.drawText(
                QRectF(0, y - 8, area.left() - 6, 16),
                Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
                show(value),
            )
        band = QPolygonF([place(at, one[0]) for at, one in enumerate(values)])
        for at in range(len(values) - 1, -1, -1):
            band.append(place(at, values[at][2]))
        shade = QColor(colour)
        shade.setAlphaF(0.18)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(shade)
        painter.drawPolygon(band)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if control is not None:
            painter.setPen(QPen(self._theme.colour("muted"), 1, Qt.PenStyle.DashLine))
            painter.drawPolyline(QPolygonF([place(at, value) for at, value in enumerate(control)]))
        painter.setPen(QPen(colour, 2))
        points = QPolygonF([place(at, one[1]) for at, one in enumerate(values)])
        painter.drawPolyline(points)
        if budget is not None:
            y = place(0, budget).y()
            painter.setPen(QPen(self._theme.colour("bad"), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
        painter.setPen(colour)
        painter.setFont(self._theme.font(SMALL, bold=True))
        head = title + ("   (dashed: the same share deferred at random)" if control is not None else "")
        painter.drawText(
            area.adjusted(8, -12, 0, 0), Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft, head
        )
        painter.setFont(self._theme.font(SMALL))
        return points

    def _draw_axis(self, painter: QPainter, area: QRectF) -> None:
        painter.setPen(self._theme.colour("muted"))
        height = painter.fontMetrics().height()
        for share in (0, 0.25, 0.5, 0.75, 1):
            x = area.left() + share * area.width()
            box = QRectF(x - 30, area.bottom() + 2, 60, height)
            side = Qt.AlignmentFlag.AlignHCenter
            if share == 1:
                box, side = QRectF(x - 60, area.bottom() + 2, 60, height), Qt.AlignmentFlag.AlignRight
            painter.drawText(box, side, text.percent(share))
        box = QRectF(area.left(), area.bottom() + 2 + height, area.width(), height + 2)
        painter.drawText(box, Qt.AlignmentFlag.AlignHCenter, "share deferred to the heavy model")

    def _draw_handle(self, painter: QPainter, upper: QRectF, lower: QRectF) -> None:
        x = upper.left() + self._curve[self._at].share * upper.width()
        painter.setPen(QPen(self._theme.colour("text"), 1.5))
        painter.drawLine(QPointF(x, upper.top() - 4), QPointF(x, lower.bottom()))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._point(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._point(event)

    def _point(self, event: QMouseEvent) -> None:
        if not self._curve:
            return
        area, _ = self._areas()
        share = (event.position().x() - area.left()) / max(1.0, area.width())
        self.moved.emit(min(range(len(self._curve)), key=lambda at: abs(self._curve[at].share - share)))
