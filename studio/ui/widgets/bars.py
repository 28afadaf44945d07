"""The bar above the step and the strip below it."""

from __future__ import annotations

from collections import deque
from typing import Final

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QFrame, QHBoxLayout, QMenu, QProgressBar, QPushButton, QToolButton, QWidget

from studio.record.events import Vitals
from studio.ui import icons, text
from studio.ui.actions import Commands, keys
from studio.ui.theme import Theme
from studio.ui.widgets.labels import OneLine, label

HISTORY: Final = 40


class TopBar(QFrame):
    """Model, target and run, each a menu; palette, theme and help at the right."""

    def __init__(self, commands: Commands, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "bar")
        self._theme = theme
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 6, 12, 6)
        row.setSpacing(4)
        self.model, self.target, self.run = (QPushButton(), QPushButton(), QPushButton())
        self.menus: dict[str, QMenu] = {}
        for button, name in ((self.model, "Model"), (self.target, "Device"), (self.run, "Run")):
            button.setProperty("role", "flat")
            menu = QMenu(button)
            menu.setAccessibleName(f"{name} menu")
            self.menus[name.lower()] = menu
            button.setMenu(menu)
            if button is not self.model:
                row.addWidget(label("·", "muted"))
            row.addWidget(button)
        row.addStretch(1)
        self._tools: list[tuple[QToolButton, str]] = []
        titles = {command.id: command for command, _ in commands}
        for name, icon in (("view.palette", "search"), ("view.theme", "theme"), ("help.keys", "keys")):
            tool = QToolButton()
            tool.setProperty("role", "flat")
            command = titles[name]
            tool.setAccessibleName(command.title)
            tool.setToolTip(f"{command.tip} ({keys(command)})")
            tool.clicked.connect(commands[name].trigger)
            if name == "view.palette":
                tool.setText(keys(command))
                tool.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            self._tools.append((tool, icon))
            row.addWidget(tool)
        self.show_names("", "", "")
        theme.changed.connect(self._restyle)
        self._restyle()

    def show_names(self, model: str, target: str, run: str) -> None:
        """What is open, where it runs, which run is on show."""
        for button, name, fallback, what in (
            (self.model, model, "No model", "Model"),
            (self.target, target, "No device", "Device"),
            (self.run, run, "No run", "Run"),
        ):
            button.setText(f"{name or fallback} ▾")
            button.setAccessibleName(f"{what}: {name or fallback}")

    def _restyle(self) -> None:
        for tool, name in self._tools:
            tool.setIcon(icons.icon(name, self._theme.tokens.muted))


class LoadLine(QWidget):
    """The processor's load of the last seconds, as a line."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._values: deque[float] = deque(maxlen=HISTORY)
        self.setAccessibleName("Processor load")
        self.setToolTip("Processor load of the last seconds")

    def add(self, value: float) -> None:
        self._values.append(min(100.0, max(0.0, value)))
        self.setAccessibleDescription(f"{value:.0f} %")
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(64, 16)

    def paintEvent(self, _: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(self.rect()).adjusted(1, 2, -1, -2)
        painter.setPen(QPen(self._theme.colour("line"), 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        if len(self._values) > 1:
            step = area.width() / (HISTORY - 1)
            left = area.right() - step * (len(self._values) - 1)
            points = QPolygonF(
                [
                    QPointF(left + at * step, area.bottom() - area.height() * v / 100)
                    for at, v in enumerate(self._values)
                ]
            )
            painter.setPen(QPen(self._theme.colour("accent"), 1.4))
            painter.drawPolyline(points)
        painter.end()


class StatusStrip(QFrame):
    """What is being done, how far it is, when it ends, and the machine's load."""

    def __init__(self, commands: Commands, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "strip")
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 3, 8, 3)
        row.setSpacing(8)
        self._mark = label("●", "muted")
        self._doing = OneLine("small")
        self._doing.setText("Ready")
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setFixedSize(140, 6)
        self._bar.setAccessibleName("Progress")
        self._left = label("", "small")
        row.addWidget(self._mark)
        row.addWidget(self._doing)
        row.addWidget(self._bar)
        row.addWidget(self._left)
        row.addStretch(1)
        self._load_word = label("CPU", "small")
        self._load = LoadLine(theme)
        self._memory = label("", "small")
        for widget in (self._load_word, self._load, self._memory):
            row.addWidget(widget)
            widget.hide()
        log = QPushButton("Log")
        log.setProperty("role", "flat")
        log.setToolTip("Show or hide the log (Ctrl+L)")
        log.clicked.connect(commands["view.log"].trigger)
        row.addWidget(log)
        self._bar.hide()

    def show_state(
        self, doing: str, mark: str = "muted", done: int = 0, total: int = 0, left: str = ""
    ) -> None:
        """One sentence; a bar where there is something to count; a range for the end."""
        self._doing.setText(doing)
        if self._mark.property("role") != mark:
            self._mark.setProperty("role", mark)
            self._mark.style().unpolish(self._mark)
            self._mark.style().polish(self._mark)
        self._bar.setVisible(total > 0)
        if total > 0:
            self._bar.setRange(0, total)
            self._bar.setValue(min(done, total))
        self._left.setText(left)

    @property
    def doing(self) -> str:
        return self._doing.text()

    def show_vitals(self, vitals: Vitals) -> None:
        for widget in (self._load_word, self._load, self._memory):
            widget.show()
        self._load.add(vitals.cpu)
        whole = vitals.memory_total / 2**30
        self._memory.setText(f"{text.number(vitals.memory / 2**30, 2)}/{whole:.0f}{text.THIN}GiB")
