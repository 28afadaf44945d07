"""The hypervolume so far, as a thin line: one look says whether the search still gains."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from studio.ui import text
from studio.ui.models.run import Changes, RunModel
from studio.ui.theme import SMALL, Theme


class HypervolumeLine(QWidget):
    """Hypervolume (share of the last value) over judged candidates."""

    def __init__(self, run: RunModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._run, self._theme = run, theme
        self.setAccessibleName("Hypervolume of the front")
        self.setToolTip(
            "Hypervolume: the area between the front and the reference point that was fixed when the run "
            "started (log latency by loss). It grows while the search still finds something."
        )
        run.changed.connect(self._on_changed)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(400, round(34 * self._theme.scale))

    def minimumSizeHint(self) -> QSize:
        return QSize(120, round(34 * self._theme.scale))

    def _on_changed(self, changes: Changes) -> None:
        if changes.front or changes.everything:
            self.setAccessibleDescription(f"now {text.number(self._run.state.hypervolume)}")
            self.update()

    def paintEvent(self, _: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self._theme.font(SMALL))
        painter.setPen(self._theme.colour("muted"))
        left = round(62 * self._theme.scale)
        right = round(64 * self._theme.scale)
        box = QRectF(0, 0, left - 6, self.height())
        centre = Qt.AlignmentFlag.AlignVCenter
        painter.drawText(box, centre | Qt.AlignmentFlag.AlignRight, "volume")
        found = self._run.state.hypervolumes
        area = QRectF(left, 5, max(10, self.width() - left - right), self.height() - 10)
        painter.setPen(QPen(self._theme.colour("line"), 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        if found:
            value = QRectF(area.right() + 6, 0, right - 10, self.height())
            painter.setPen(self._theme.colour("text"))
            painter.drawText(value, centre | Qt.AlignmentFlag.AlignLeft, text.number(found[-1][1]))
            started = self._run.state.started
            whole = max(
                found[-1][0], 1 + started.generations * started.population if started is not None else 1
            )
            top = max(volume for _, volume in found) or 1.0
            points = QPolygonF()
            last = 0.0
            for at, volume in found:
                x = area.left() + area.width() * at / whole
                points.append(QPointF(x, area.bottom() - area.height() * last / top))
                points.append(QPointF(x, area.bottom() - area.height() * volume / top))
                last = volume
            painter.setPen(QPen(self._theme.colour("accent"), 1.5))
            painter.drawPolyline(points)
        painter.end()
