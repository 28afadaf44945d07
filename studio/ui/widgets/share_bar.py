"""A share of a whole as a bar in a table's cell."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, QRect, QRectF, Qt
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem

from studio.ui import text
from studio.ui.theme import Theme


class ShareBars(QStyledItemDelegate):
    """Reads a share (0 to 1) from `UserRole`; None is not measured yet, below 0 nothing to measure."""

    def __init__(self, theme: Theme, parent: QObject) -> None:
        super().__init__(parent)
        self._theme = theme

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        share = index.data(Qt.ItemDataRole.UserRole)
        area: QRect = option.rect
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if share is None or share < 0:
            painter.setPen(self._theme.colour("muted"))
            words = "measured in a run" if share is None else "–"
            painter.drawText(area.adjusted(8, 0, -8, 0), Qt.AlignmentFlag.AlignVCenter, words)
        else:
            track = QRectF(area.left() + 8, area.center().y() - 3, max(20, area.width() - 56), 6)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._theme.colour("raised"))
            painter.drawRoundedRect(track, 3, 3)
            track.setWidth(track.width() * min(1.0, max(0.0, float(share))))
            painter.setBrush(self._theme.colour("accent"))
            painter.drawRoundedRect(track, 3, 3)
            painter.setPen(self._theme.colour("text"))
            right = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
            painter.drawText(area.adjusted(0, 0, -8, 0), right, text.percent(float(share)))
        painter.restore()
