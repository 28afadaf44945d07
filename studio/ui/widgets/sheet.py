"""Prompts as pictures: the filmstrip (one row) and the contact sheet (all), worst first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QPersistentModelIndex,
    QRect,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QColor, QPainter, QPen
from PySide6.QtWidgets import QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from studio.ui.pictures import Pictures
from studio.ui.theme import GREY, SMALL, Theme
from studio.ui.widgets.hover_card import thumbnail

ROOT: Final = QModelIndex()
Index = QModelIndex | QPersistentModelIndex


@dataclass(frozen=True, slots=True)
class Cell:
    """A prompt with one or two pictures and a short remark."""

    prompt: str
    remark: str
    pictures: tuple[Path, ...]


class SheetModel(QAbstractListModel):
    """Cells; thumbnails arrive by the store's `ready`."""

    def __init__(self, pictures: Pictures) -> None:
        super().__init__()
        self._pictures = pictures
        self._cells: list[Cell] = []
        self._rows: dict[str, set[int]] = {}
        pictures.ready.connect(self._on_ready)

    def set_cells(self, cells: list[Cell]) -> None:
        if cells == self._cells:
            return
        as_many = len(cells) == len(self._cells)
        if not as_many:
            self.beginResetModel()
        self._cells = cells
        self._rows = {}
        for row, cell in enumerate(cells):
            for path in cell.pictures:
                self._rows.setdefault(str(path), set()).add(row)
        if as_many:  # a view lays nothing out anew then
            self.dataChanged.emit(self.index(0, 0), self.index(len(cells) - 1, 0))
        else:
            self.endResetModel()

    def cell(self, row: int) -> Cell | None:
        return self._cells[row] if 0 <= row < len(self._cells) else None

    def rowCount(self, parent: Index = ROOT) -> int:
        return 0 if parent.isValid() else len(self._cells)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        cell = self.cell(index.row())
        if cell is None:
            return None
        if role in {Qt.ItemDataRole.AccessibleTextRole, Qt.ItemDataRole.ToolTipRole}:
            return f"{cell.prompt}\n{cell.remark}".strip()
        return cell.prompt if role == Qt.ItemDataRole.DisplayRole else None

    def _on_ready(self, path: str) -> None:
        for row in self._rows.get(path, ()):
            index = self.index(row, 0)
            self.dataChanged.emit(index, index, [Qt.ItemDataRole.DecorationRole])


class _Painter(QStyledItemDelegate):
    def __init__(self, pictures: Pictures, theme: Theme, size: int, view: QListView) -> None:
        super().__init__(view)
        self._pictures, self._theme, self.size = pictures, theme, size
        self._thumbnails: dict[tuple[str, int, float], Any] = {}
        self.many = 1

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:  # noqa: ARG002
        line = round((SMALL + 5) * self._theme.scale)
        return QSize(self.size * self.many + 2 * (self.many - 1) + 12, self.size + line + 12)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        model = index.model()
        if not isinstance(model, SheetModel):
            return
        cell = model.cell(index.row())
        if cell is None:
            return
        area: QRect = option.rect
        state: QStyle.StateFlag = option.state
        painter.save()
        if state & QStyle.StateFlag.State_Selected:
            painter.setPen(QPen(self._theme.colour("accent"), 3))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(area.adjusted(2, 2, -2, -2), 5, 5)
        elif state & QStyle.StateFlag.State_MouseOver:
            painter.setPen(QPen(self._theme.colour("line"), 2))
            painter.drawRoundedRect(area.adjusted(2, 2, -2, -2), 5, 5)
        left = area.left() + 6
        for path in cell.pictures:
            box = QRect(left, area.top() + 6, self.size, self.size)
            painter.fillRect(box, QColor(GREY))
            made = self._thumbnail(str(path), painter.device().devicePixelRatioF())
            if made is not None:
                painter.drawPixmap(box, made)
            left += self.size + 2
        painter.setFont(self._theme.font(SMALL))
        painter.setPen(self._theme.colour("muted"))
        words = QRect(
            area.left() + 6, area.top() + self.size + 7, area.width() - 12, area.height() - self.size - 9
        )
        roomy = not cell.remark or self.size * self.many > 90
        body = f"{cell.remark}  {cell.prompt}".strip() if roomy else cell.remark
        shown = painter.fontMetrics().elidedText(body, Qt.TextElideMode.ElideRight, words.width())
        painter.drawText(words, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, shown)
        painter.restore()

    def _thumbnail(self, path: str, ratio: float) -> Any:
        key = (path, self.size, ratio)
        if key not in self._thumbnails:
            picture = self._pictures.get(path)
            if picture is None:
                return None
            if len(self._thumbnails) > 400:
                self._thumbnails.clear()
            self._thumbnails[key] = None if picture.isNull() else thumbnail(picture, self.size, ratio)
        return self._thumbnails[key]


class Sheet(QListView):
    """Pictures in a row (`flow=False`) or over the whole area.

    Signals:
        chosen(int): a row was chosen by mouse or keys.
        opened(int): a row was double-clicked or confirmed with Return.
    """

    chosen = Signal(int)
    opened = Signal(int)

    def __init__(
        self,
        pictures: Pictures,
        theme: Theme,
        name: str,
        *,
        size: int = 64,
        flow: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self._cells = SheetModel(pictures)
        self.setModel(self._cells)
        self._painter = _Painter(pictures, theme, size, self)
        self.setItemDelegate(self._painter)
        self.setViewMode(QListView.ViewMode.IconMode if flow else QListView.ViewMode.ListMode)
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(flow)
        self.setMovement(QListView.Movement.Static)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setSelectionMode(QListView.SelectionMode.SingleSelection)
        self.setHorizontalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        if flow:
            self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        else:
            self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
            self.setFixedHeight(size + round((SMALL + 5) * theme.scale) + 28)
        self._quiet = False
        self.selectionModel().currentChanged.connect(self._on_current)
        self.activated.connect(lambda index: self.opened.emit(index.row()))

    def show_cells(self, cells: list[Cell], current: int = 0) -> None:
        """Put other cells; `chosen` is not emitted."""
        self._quiet = True
        many = max((len(cell.pictures) for cell in cells), default=1)
        self._cells.set_cells(cells)
        if many != self._painter.many:
            self._painter.many = many
            self.scheduleDelayedItemsLayout()
        self.choose(current)
        self._quiet = False

    def choose(self, row: int) -> None:
        if 0 <= row < self._cells.rowCount():
            self.setCurrentIndex(self._cells.index(row, 0))

    @property
    def rows(self) -> int:
        return self._cells.rowCount()

    @property
    def current(self) -> int:
        return self.currentIndex().row()

    def _on_current(self, index: QModelIndex) -> None:
        if not self._quiet and index.isValid():
            self.chosen.emit(index.row())
