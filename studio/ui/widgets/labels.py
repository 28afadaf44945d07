"""Small pieces of type: labels by role, rules, chips in a flow, a row of number and name."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QEvent, QPoint, QRect, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QLabel,
    QLayout,
    QLayoutItem,
    QLineEdit,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

_LEAST = 60
"""Pixels that are kept for a line which is cut."""


def label(text: str = "", role: str = "", *, wrap: bool = False, select: bool = False) -> QLabel:
    """A plain-text label in one of the style sheet's roles."""
    made = QLabel(text)
    made.setTextFormat(Qt.TextFormat.PlainText)
    if role:
        made.setProperty("role", role)
    made.setWordWrap(wrap)
    if select:
        made.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return made


def plain_line(name: str, role: str = "plain") -> QLineEdit:
    """A path, an id, a prompt: one line that can be marked and copied, and never makes its window wider.

    `role`: `plain` is small and muted, `said` looks like a label without a role.
    """
    made = QLineEdit(readOnly=True, frame=False)
    made.setProperty("role", role)
    made.setAccessibleName(name)
    made.setTextMargins(-2, 0, 0, 0)  # the line's own: it stands under labels
    made.textChanged.connect(made.setToolTip)
    made.textChanged.connect(lambda: made.setCursorPosition(0))
    return made


class OneLine(QLabel):
    """A label in one line that ends in an ellipsis where it is too long; the whole is in the tool tip."""

    def __init__(self, role: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        if role:
            self.setProperty("role", role)

    def setText(self, text: str) -> None:
        super().setText(text)
        self.setToolTip(text)

    def minimumSizeHint(self) -> QSize:
        """Never what makes a window wider."""
        whole = super().minimumSizeHint()
        return QSize(min(whole.width(), _LEAST), whole.height())

    def paintEvent(self, _: QPaintEvent) -> None:
        area = self.contentsRect()
        shown = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, area.width())
        with QPainter(self) as painter:
            self.style().drawItemText(
                painter,
                area,
                int(self.alignment()),
                self.palette(),
                self.isEnabled(),
                shown,
                self.foregroundRole(),
            )


class Steady(QWidget):
    """Holds a widget whose words change with every movement; layouts are asked anew where they do not fit.

    A label with another text has every layout around it computed again, and a
    tab painted whole: most of a frame.  Here the room stays while it is enough.
    """

    def __init__(self, held: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._held = held
        held.setParent(self)
        self.setSizePolicy(held.sizePolicy())
        self.setMinimumSize(held.minimumSize())

    def hasHeightForWidth(self) -> bool:
        return self._held.hasHeightForWidth()

    def heightForWidth(self, width: int) -> int:
        return self._held.heightForWidth(width)

    def sizeHint(self) -> QSize:
        return self._held.sizeHint()

    def minimumSizeHint(self) -> QSize:
        return self._held.minimumSizeHint()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._held.setGeometry(self.rect())

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.updateGeometry()  # nobody said what changed while it was hidden

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest and not self._is_enough():
            self.updateGeometry()
        return super().event(event)

    def _is_enough(self) -> bool:
        least = self._held.minimumSizeHint()
        height = self.heightForWidth(self.width()) if self.hasHeightForWidth() else least.height()
        return least.width() <= self.width() and height <= self.height()


def rule() -> QFrame:
    """A hairline."""
    made = QFrame()
    made.setProperty("role", "rule")
    return made


class Flow(QLayout):
    """Puts items from left to right and begins a new line where the width ends."""

    def __init__(self, parent: QWidget | None = None, space: int = 4) -> None:
        super().__init__(parent)
        self._items: list[QLayoutItem] = []
        self.setContentsMargins(0, 0, 0, 0)
        self.setSpacing(space)

    def addItem(self, item: QLayoutItem) -> None:
        self._items.append(item)

    def count(self) -> int:
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:
        return Qt.Orientation(0)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return self._place(QRect(0, 0, width, 0), move=False)

    def setGeometry(self, rect: QRect) -> None:
        super().setGeometry(rect)
        self._place(rect, move=True)

    def sizeHint(self) -> QSize:
        return self.minimumSize()

    def minimumSize(self) -> QSize:
        size = QSize()
        for item in self._items:
            size = size.expandedTo(item.minimumSize())
        return size

    def _place(self, rect: QRect, *, move: bool) -> int:
        """The height that is taken; each line's items stand around its middle."""
        lines: list[list[tuple[int, QLayoutItem, QSize]]] = [[]]
        x = rect.x()
        for item in self._items:
            if item.isEmpty():
                continue
            hint = item.sizeHint()
            width = min(hint.width(), max(rect.width(), 1))
            if x + width > rect.right() + 1 and lines[-1]:
                lines.append([])
                x = rect.x()
            lines[-1].append((x, item, QSize(width, hint.height())))
            x += width + self.spacing()
        y = rect.y()
        for line in lines:
            height = max((size.height() for _, _, size in line), default=0)
            for left, item, size in line if move else ():
                item.setGeometry(QRect(QPoint(left, y + (height - size.height()) // 2), size))
            y += height + self.spacing()
        return y - self.spacing() - rect.y()


class FlowRow(QWidget):
    """Widgets in a flow that keeps the height of its lines where nobody asks for it, as in a splitter."""

    def __init__(self, space: int = 4, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.flow = Flow(self, space)

    def add(self, *widgets: QWidget) -> None:
        for widget in widgets:
            self.flow.addWidget(widget)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._keep()

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:  # others are in it now
            self._keep()
        return super().event(event)

    def _keep(self) -> None:
        height = self.flow.heightForWidth(self.width())
        if height != self.minimumHeight():
            self.setMinimumHeight(height)


class Chips(QWidget):
    """A recipe as chips, one a technique."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._flow = Flow(self)
        policy = self.sizePolicy()
        policy.setHeightForWidth(True)
        policy.setVerticalPolicy(QSizePolicy.Policy.Minimum)
        self.setSizePolicy(policy)
        self._chips: list[QLabel] = []

    def show_chips(self, texts: Iterable[str]) -> None:
        shown = list(texts)
        while len(self._chips) < len(shown):
            self._chips.append(label("", "chip"))
            self._flow.addWidget(self._chips[-1])
        for at, chip in enumerate(self._chips):
            chip.setText(shown[at] if at < len(shown) else "")
            chip.setVisible(at < len(shown))
        self.updateGeometry()


class NumberRows(QGridLayout):
    """Name, value and remark a row; a remark without a value takes both columns.

    Labels are used again: new ones cost a second layout and a second painting of all around them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setHorizontalSpacing(0)  # Qt forgets it where a cell over two columns is hidden: margins instead
        self.setVerticalSpacing(4)
        self.setColumnStretch(0, 1)
        self._rows: list[tuple[QLabel, QLabel, QLabel, QLabel]] = []
        self._shown: list[tuple[str, str, str]] = []

    def show_rows(self, rows: list[tuple[str, str, str]]) -> None:
        if rows == self._shown:
            return
        self._shown = list(rows)
        while len(self._rows) < len(rows):
            self._rows.append(self._row(len(self._rows)))
        for at, (name, value, remark, alone) in enumerate(self._rows):
            texts = rows[at] if at < len(rows) else ("", "", "")
            name.setText(texts[0])
            value.setText(texts[1])
            remark.setText(texts[2] if texts[1] else "")
            alone.setText("" if texts[1] else texts[2])
            there = at < len(rows)
            name.setVisible(there)
            value.setVisible(there and bool(texts[1]))
            remark.setVisible(there and bool(texts[1]))
            alone.setVisible(there and not texts[1])

    def _row(self, at: int) -> tuple[QLabel, QLabel, QLabel, QLabel]:
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop
        name, value, remark, alone = (
            label(role="muted"),
            label(),
            label(role="small"),
            label(role="small", wrap=True),
        )
        for one in (value, remark, alone):
            one.setContentsMargins(10, 0, 0, 0)
        self.addWidget(name, at, 0, Qt.AlignmentFlag.AlignTop)
        self.addWidget(value, at, 1, right)
        self.addWidget(remark, at, 2, right)
        self.addWidget(alone, at, 1, 1, 2)
        return name, value, remark, alone


class Figure(QWidget):
    """A number with its name above and a remark below."""

    def __init__(self, name: str, *, big: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(label(name, "small"))
        self._value = label("–", "big" if big else "section")
        self._remark = label("", "small", wrap=True)
        column.addWidget(self._value)
        column.addWidget(self._remark)

    def show_value(self, value: str, remark: str = "") -> None:
        self._value.setText(value)
        self._remark.setText(remark)
        self._remark.setVisible(bool(remark))

    @property
    def value(self) -> str:
        return self._value.text()
