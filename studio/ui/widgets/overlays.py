"""What lies over the window: the palette (find a command) and the help (all keys)."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QAction, QKeyEvent
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from studio.ui.actions import Commands, keys
from studio.ui.widgets.labels import Flow, label


class Overlay(QFrame):
    """Centred over its parent; Escape or a click elsewhere puts it away and the focus back."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setProperty("role", "overlay")
        self.setAutoFillBackground(True)
        self._before: QWidget | None = None
        self._over = parent
        parent.installEventFilter(self)
        self.hide()

    def open(self) -> None:
        self._before = self.window().focusWidget()
        self._place()
        self.show()
        self.raise_()
        self.setFocus(Qt.FocusReason.PopupFocusReason)

    def put_away(self) -> None:
        self.hide()
        if self._before is not None and self._before.isVisible():
            self._before.setFocus(Qt.FocusReason.PopupFocusReason)
        self._before = None

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.put_away()
            return
        super().keyPressEvent(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self._over and self.isVisible():
            if event.type() == QEvent.Type.Resize:
                self._place()
            elif event.type() == QEvent.Type.MouseButtonPress:
                self.put_away()
        return False

    def wanted(self) -> tuple[int, int]:
        return 560, 420

    def _place(self) -> None:
        room = self._over.size()
        width, height = self.wanted()
        width, height = min(width, room.width() - 32), min(height, room.height() - 64)
        self.setGeometry((room.width() - width) // 2, max(24, (room.height() - height) // 4), width, height)


class Palette(Overlay):
    """Type a few letters, press Return."""

    def __init__(self, commands: Commands, parent: QWidget) -> None:
        super().__init__(parent)
        self._commands = commands
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 12, 12, 12)
        column.setSpacing(8)
        self._edit = QLineEdit()
        self._edit.setPlaceholderText("Find a command")
        self._edit.setAccessibleName("Find a command")
        self._list = QListWidget()
        self._list.setAccessibleName("Commands")
        column.addWidget(self._edit)
        column.addWidget(self._list)
        self._edit.textChanged.connect(self._fill)
        self._edit.installEventFilter(self)
        self._list.itemActivated.connect(lambda _: self._run())
        self._list.itemClicked.connect(lambda _: self._run())
        self.setFocusProxy(self._edit)

    def open(self) -> None:
        self._edit.clear()
        self._fill("")
        super().open()

    def found(self) -> list[str]:
        """Titles on offer now."""
        return [self._list.item(at).text() for at in range(self._list.count())]

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self._edit and event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            ways = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1}
            key = Qt.Key(event.key())
            if key in ways:
                row = self._list.currentRow() + ways[key]
                self._list.setCurrentRow(max(0, min(self._list.count() - 1, row)))
                return True
            if key in {Qt.Key.Key_Return, Qt.Key.Key_Enter}:
                self._run()
                return True
        return super().eventFilter(watched, event)

    def _fill(self, typed: str) -> None:
        self._list.clear()
        words = typed.lower().split()
        for command, action in self._commands:
            body = f"{command.menu}: {command.title}"
            if action.isEnabled() and all(word in f"{body} {command.tip}".lower() for word in words):
                pressed = keys(command)
                item = QListWidgetItem(f"{body}    {pressed}" if pressed else body)
                item.setToolTip(command.tip)
                item.setData(Qt.ItemDataRole.UserRole, command.id)
                self._list.addItem(item)
        self._list.setCurrentRow(0)

    def _run(self) -> None:
        item = self._list.currentItem()
        if item is None:
            return
        action: QAction = self._commands[item.data(Qt.ItemDataRole.UserRole)]
        self.put_away()
        action.trigger()


class Help(Overlay):
    """Every command with its keys, by menu."""

    def __init__(self, commands: Commands, parent: QWidget) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 12, 12)
        head = QHBoxLayout()
        head.addWidget(label("Keys", "title"))
        head.addStretch(1)
        self._close = QPushButton("Close")
        self._close.setAccessibleName("Close the list of keys")
        self._close.clicked.connect(self.put_away)
        head.addWidget(self._close)
        column.addLayout(head)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        inside = QWidget()
        flow = Flow(inside, 16)
        for name in dict.fromkeys(command.menu for command, _ in commands):
            block = QWidget()
            block.setFixedWidth(330)
            grid = QGridLayout(block)
            grid.setContentsMargins(0, 4, 0, 4)
            grid.setVerticalSpacing(3)
            grid.addWidget(label(name, "section"), 0, 0, 1, 2)
            for row, (command, _) in enumerate(((c, a) for c, a in commands if c.menu == name), 1):
                grid.addWidget(label(keys(command) or "–", "key"), row, 0, Qt.AlignmentFlag.AlignLeft)
                text = label(command.title)
                text.setToolTip(command.tip)
                grid.addWidget(text, row, 1)
            grid.setColumnMinimumWidth(0, 124)
            grid.setColumnStretch(1, 1)
            flow.addWidget(block)
        area.setWidget(inside)
        column.addWidget(area)
        self.setFocusProxy(self._close)

    def wanted(self) -> tuple[int, int]:
        return 1080, 640
