"""A small painted plot: a card with one pair of axes, a title in the colours of its series, or a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from studio.ui import text
from studio.ui.theme import SMALL, Theme

Range = tuple[float, float]


class Plot(QWidget):
    """What small plots share; one overrides `ready`, `ranges`, `titles` and `draw`."""

    across = ""
    """Name of the horizontal axis."""
    empty = ""
    """Said while there is nothing to draw."""

    def __init__(self, theme: Theme, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.setAccessibleName(name)
        self.setMinimumSize(220, 180)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(320, 240)

    # -- to be told by each kind --------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether there is something to draw."""
        raise NotImplementedError

    def ranges(self) -> tuple[Range, Range]:
        """Of x and y."""
        return (0.0, 1.0), (0.0, 1.0)

    def ticks(self) -> tuple[Callable[[float], str], Callable[[float], str]]:
        """How numbers are written on x and y."""
        return text.percent, text.percent

    def titles(self) -> Sequence[tuple[str, QColor]]:
        """Words above the plot, each in the colour of what it names."""
        raise NotImplementedError

    def draw(self, painter: QPainter, place: Callable[[float, float], QPointF]) -> None:
        """Series, inside the axes."""
        raise NotImplementedError

    # -- painting -----------------------------------------------------------------------------------

    def series(self, at: int) -> QColor:
        return QColor(self._theme.tokens.series[at])

    def line(self, painter: QPainter, points: Sequence[QPointF], colour: QColor, width: float = 2) -> None:
        painter.setPen(QPen(colour, width))
        painter.drawPolyline(QPolygonF(list(points)))

    def paintEvent(self, _: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(self._theme.colour("line"), 1))
        painter.setBrush(self._theme.colour("surface"))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setFont(self._theme.font(SMALL))
        if not self.ready():
            painter.setPen(self._theme.colour("muted"))
            words = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(12, 0, -12, 0), words, self.empty)
            painter.end()
            return
        scale = self._theme.scale
        left, top, bottom = 44 * scale, 24 * scale, 36 * scale
        area = QRectF(left, top, self.width() - left - 14, self.height() - top - bottom)
        (low, high), (under, over) = self.ranges()

        def place(x: float, y: float) -> QPointF:
            return QPointF(
                area.left() + (x - low) / ((high - low) or 1.0) * area.width(),
                area.bottom() - (y - under) / ((over - under) or 1.0) * area.height(),
            )

        self._axes(painter, area, (low, high), (under, over))
        self._words(painter, area)
        self.draw(painter, place)
        painter.end()

    def _axes(self, painter: QPainter, area: QRectF, x: Range, y: Range) -> None:
        painter.setPen(QPen(self._theme.colour("line"), 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        painter.drawLine(area.topLeft(), area.bottomLeft())
        painter.setPen(self._theme.colour("muted"))
        height = painter.fontMetrics().height()
        show_x, show_y = self.ticks()
        for part, side in (
            (0.0, Qt.AlignmentFlag.AlignLeft),
            (0.5, Qt.AlignmentFlag.AlignHCenter),
            (1.0, Qt.AlignmentFlag.AlignRight),
        ):
            box = QRectF(area.left() + part * (area.width() - 80), area.bottom() + 3, 80, height)
            painter.drawText(box, side, show_x(x[0] + part * (x[1] - x[0])))
            box = QRectF(0, area.bottom() - part * area.height() - height / 2, area.left() - 6, height)
            across = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(box, across, show_y(y[0] + part * (y[1] - y[0])))
        box = QRectF(area.left(), area.bottom() + 3 + height, area.width(), height)
        painter.drawText(box, Qt.AlignmentFlag.AlignHCenter, self.across)

    def _words(self, painter: QPainter, area: QRectF) -> None:
        painter.setFont(self._theme.font(SMALL, bold=True))
        x = area.left()
        for words, colour in self.titles():
            painter.setPen(colour)
            width = painter.fontMetrics().horizontalAdvance(words)
            painter.drawText(QRectF(x, 4, width + 2, area.top() - 6), Qt.AlignmentFlag.AlignVCenter, words)
            x += width + 12
        painter.setFont(self._theme.font(SMALL))
