"""The rail of steps: icon, word and state, any of them open to a click at any time."""

from __future__ import annotations

from typing import Final, Literal

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QAction, QColor, QFocusEvent, QKeyEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QButtonGroup, QFrame, QVBoxLayout, QWidget

from studio.ui import icons
from studio.ui.theme import SMALL, Theme, mixed

StepState = Literal["empty", "ready", "running", "done", "attention"]
STATES: Final[dict[StepState, tuple[str, str]]] = {
    "empty": ("", "muted"),
    "ready": ("ready", "muted"),
    "running": ("running", "accent"),
    "done": ("done", "good"),
    "attention": ("look", "warn"),
}
MARKS: Final[dict[StepState, str]] = {
    "empty": "",
    "ready": "○",
    "running": "◐",
    "done": "✓",
    "attention": "!",
}


class RailButton(QAbstractButton):
    """One step."""

    def __init__(self, step: str, action: QAction, theme: Theme) -> None:
        super().__init__()
        self._step, self._theme = step, theme
        self._state: StepState = "empty"
        self.setText(step.capitalize())
        self.setCheckable(True)
        self.setAutoExclusive(True)
        self.setToolTip(f"{action.toolTip()} ({action.shortcut().toString()})")
        self.clicked.connect(action.trigger)
        theme.changed.connect(self.updateGeometry)
        theme.changed.connect(self.update)
        self.set_state("empty")

    @property
    def state(self) -> StepState:
        return self._state

    def set_state(self, state: StepState) -> None:
        self._state = state
        word = {"empty": "empty", "attention": "needs attention"}.get(state, state)
        self.setAccessibleName(f"{self.text()}, {word}")
        self.update()

    def sizeHint(self) -> QSize:
        scale = self._theme.scale
        return QSize(round(76 * max(1.0, scale * 0.85)), round(68 * max(1.0, scale * 0.9)))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        ways = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}
        way = ways.get(Qt.Key(event.key()))
        group = self.group()
        if way is None or group is None:
            super().keyPressEvent(event)
            return
        buttons = group.buttons()
        target = buttons[(buttons.index(self) + way) % len(buttons)]
        target.setFocus(Qt.FocusReason.TabFocusReason)
        target.click()

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.update()

    def paintEvent(self, _: QPaintEvent) -> None:
        theme = self._theme
        tokens = theme.tokens
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(self.rect()).adjusted(5, 2, -5, -2)
        if self.isChecked():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.colour("raised"))
            painter.drawRoundedRect(area, 6, 6)
            painter.setBrush(theme.colour("accent"))
            painter.drawRoundedRect(QRectF(0, area.top() + 12, 3, area.height() - 24), 1.5, 1.5)
        elif self.underMouse():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(mixed(tokens.ground, tokens.raised, 0.6)))
            painter.drawRoundedRect(area, 6, 6)
        colour = tokens.text if self.isChecked() else tokens.muted
        size = 22
        ratio = self.devicePixelRatioF()
        line = painter.fontMetrics().height()
        top = area.center().y() - (size + 2 * line * 0.9) / 2
        picture = icons.pixmap(self._step, colour, size, ratio)
        painter.drawPixmap(round(area.center().x() - size / 2), round(top), picture)
        painter.setFont(theme.font(12, bold=self.isChecked()))
        painter.setPen(theme.colour("text") if self.isChecked() else theme.colour("muted"))
        height = painter.fontMetrics().height()
        words = QRectF(area.left(), top + size + 1, area.width(), height)
        painter.drawText(words, Qt.AlignmentFlag.AlignCenter, self.text())
        word, role = STATES[self._state]
        if word:
            painter.setFont(theme.font(SMALL - 1))
            painter.setPen(theme.colour(role))
            below = QRectF(area.left(), words.bottom() - 1, area.width(), painter.fontMetrics().height())
            painter.drawText(below, Qt.AlignmentFlag.AlignCenter, f"{MARKS[self._state]} {word}")
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(theme.colour("accent"), 2))
            painter.drawRoundedRect(area, 6, 6)
        painter.end()


class Rail(QFrame):
    """All steps; each button triggers the command of its step."""

    def __init__(self, steps: dict[str, QAction], theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "rail")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 8, 0, 8)
        column.setSpacing(2)
        self._group = QButtonGroup(self)
        self._buttons: dict[str, RailButton] = {}
        for step, action in steps.items():
            button = RailButton(step, action, theme)
            self._group.addButton(button)
            self._buttons[step] = button
            column.addWidget(button)
        column.addStretch(1)

    def __getitem__(self, step: str) -> RailButton:
        return self._buttons[step]

    def set_current(self, step: str) -> None:
        self._buttons[step].setChecked(True)
