"""Quality and time over the strength at which the heavy model starts from what light made."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from studio.plan.deferral import Interval
from studio.plan.reuse import Arm, Reuse
from studio.ui import text
from studio.ui.theme import SMALL, Theme


class StrengthCurve(QWidget):
    """Quality above, further time below, with intervals; at strength 1 heavy starts from the beginning."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._reuse: Reuse | None = None
        self._show_quality: Callable[[float], str] = text.number
        self.setMinimumSize(260, 180)
        self.setAccessibleName("Quality and time over the strength of a start from what light made")
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(380, 240)

    def show_reuse(self, reuse: Reuse | None, show_quality: Callable[[float], str]) -> None:
        self._reuse, self._show_quality = reuse, show_quality
        self.setAccessibleDescription("" if reuse is None else "; ".join(self._said(reuse)))
        self.update()

    def _said(self, reuse: Reuse) -> list[str]:
        return [
            f"strength {_strength(arm):.2g}: quality {self._show_quality(arm.quality.value)}, "
            f"{text.seconds(arm.seconds.value)}"
            for arm in reuse.curve
        ]

    def paintEvent(self, _: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(self._theme.colour("line"), 1))
        painter.setBrush(self._theme.colour("surface"))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setFont(self._theme.font(SMALL))
        if self._reuse is None:
            painter.setPen(self._theme.colour("muted"))
            painter.drawText(
                self.rect(), Qt.AlignmentFlag.AlignCenter, "The curve appears once the options are measured"
            )
            painter.end()
            return
        scale = self._theme.scale
        left, height = 62 * scale, (self.height() - 34 * scale - 44) / 2
        width = self.width() - left - 16
        series = self._theme.tokens.series
        arms = self._reuse.curve
        areas = (QRectF(left, 20, width, height), QRectF(left, 38 + height, width, height))
        light = next((arm.quality.value for arm in self._reuse.arms if arm.kind == "light"), None)
        self._draw(
            painter,
            areas[0],
            arms,
            [arm.quality for arm in arms],
            QColor(series[0]),
            "Quality" + ("   (dashed: the light picture handed back)" if light is not None else ""),
            self._show_quality,
            light,
        )
        self._draw(
            painter,
            areas[1],
            arms,
            [arm.seconds for arm in arms],
            QColor(series[1]),
            "Further time",
            text.seconds,
            0.0,
        )
        painter.setPen(self._theme.colour("muted"))
        for share in (0.0, 0.5, 1.0):
            centre = areas[1].left() + share * areas[1].width()
            box = QRectF(centre - 30, areas[1].bottom() + 3, 60, 15 * scale)
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, f"{share:g}")
        painter.drawText(
            QRectF(left, areas[1].bottom() + 3 + 13 * scale, width, 16 * scale),
            Qt.AlignmentFlag.AlignCenter,
            "Strength (1: heavy from the start)",
        )
        painter.end()

    def _draw(
        self,
        painter: QPainter,
        area: QRectF,
        arms: tuple[Arm, ...],
        values: list[Interval],
        colour: QColor,
        title: str,
        show: Callable[[float], str],
        line: float | None,
    ) -> None:
        low = min([one.low for one in values] + ([] if line is None else [line]))
        high = max([one.high for one in values] + ([] if line is None else [line]))
        span = (high - low) or 1.0
        low, high = low - 0.08 * span, high + 0.08 * span

        def y(value: float) -> float:
            return area.bottom() - (value - low) / (high - low) * area.height()

        painter.setPen(QPen(self._theme.colour("line"), 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        painter.drawLine(area.topLeft(), area.bottomLeft())
        painter.setPen(self._theme.colour("muted"))
        for part in (0.12, 0.88):
            box = QRectF(0, area.bottom() - part * area.height() - 8, area.left() - 6, 16)
            painter.drawText(
                box,
                Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
                show(low + (high - low) * part),
            )
        if line is not None:
            painter.setPen(QPen(self._theme.colour("muted"), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(area.left(), y(line)), QPointF(area.right(), y(line)))
        points = [
            QPointF(area.left() + _strength(arm) * area.width(), y(value.value))
            for arm, value in zip(arms, values, strict=True)
        ]
        painter.setPen(QPen(colour, 1))
        for point, value in zip(points, values, strict=True):
            painter.drawLine(QPointF(point.x(), y(value.low)), QPointF(point.x(), y(value.high)))
        painter.setPen(QPen(colour, 2))
        painter.drawPolyline(QPolygonF(points))
        painter.setBrush(colour)
        for point in points:
            painter.drawEllipse(point, 3, 3)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setFont(self._theme.font(SMALL, bold=True))
        painter.drawText(
            area.adjusted(8, -14, 0, 0), Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft, title
        )
        painter.setFont(self._theme.font(SMALL))


def _strength(arm: Arm) -> float:
    return 1.0 if arm.strength is None else arm.strength
