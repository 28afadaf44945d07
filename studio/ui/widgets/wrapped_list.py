"""A list of sentences, each as high as its words need."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QListWidget, QStyledItemDelegate, QStyleOptionViewItem

_BESIDE = 24
"""Pixels of a row that words cannot have: padding, spacing and frame, on both sides."""
_ABOVE = 8


class _Rows(QStyledItemDelegate):
    """Qt measures a wrapped row by the whole width and paints it inside its padding: the last word is cut."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        rows = self.parent()
        assert isinstance(rows, WrappedList)
        width = max(40, rows.viewport().width() - _BESIDE)
        words = str(index.data(Qt.ItemDataRole.DisplayRole) or "")
        needed = option.fontMetrics.boundingRect(
            QRect(0, 0, width, 1 << 16), int(Qt.TextFlag.TextWordWrap), words
        )
        return QSize(width, needed.height() + _ABOVE)


class WrappedList(QListWidget):
    """Sentences below each other; none is cut, whatever the width."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setSpacing(2)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setItemDelegate(_Rows(self))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.scheduleDelayedItemsLayout()
