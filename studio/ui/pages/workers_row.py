"""Where a run's candidates are judged: on this machine, or on a Ray cluster."""

from __future__ import annotations

from PySide6.QtWidgets import QFrame, QHBoxLayout, QLineEdit, QWidget

from studio.ui.desk import Desk
from studio.ui.widgets.labels import label


class WorkersRow(QFrame):
    """The cluster's address; what is none is said when a run is started."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "card")
        row = QHBoxLayout(self)
        caption = label("Judge candidates on", "section")
        self.where = QLineEdit(desk.sitting.settings.workers)
        self.where.setAccessibleName("Where candidates are judged")
        self.where.setMaxLength(200)
        self.where.setPlaceholderText("this machine")
        self.where.setToolTip(
            "A Ray cluster whose workers have the chosen device; local:2 tries it out on this machine. "
            "A worker that is lost costs its candidate only, which is tried again."
        )
        self.where.editingFinished.connect(lambda: desk.sitting.change(workers=self.where.text().strip()))
        caption.setBuddy(self.where)
        row.addWidget(caption)
        row.addWidget(self.where, 1)
        row.addWidget(label("or a Ray cluster: ray://HOST:10001, HOST:6379, auto", "muted"))
