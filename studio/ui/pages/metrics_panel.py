"""The metrics pack on the Device step: what is here, fetch or point to one; what a run's loss measures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QMessageBox,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from studio.ui import text
from studio.ui.desk import Desk
from studio.ui.widgets.fields import whole
from studio.ui.widgets.labels import label

CHOICES: Final = (
    ("", "what the model allows"),
    ("adherence", "Adherence"),
    ("lpips", "LPIPS"),
    ("clip", "CLIP score"),
    ("cmmd", "CMMD (sets)"),
    ("dino", "DINO distance"),
    ("haarpsi", "HaarPSI"),
)


class MetricsPanel(QFrame):
    """The networks of the pack, a row each."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "card")
        self.desk = desk
        self.networks: list[dict[str, Any]] = []
        self.get: dict[str, QPushButton] = {}
        self.use: dict[str, QPushButton] = {}
        self._said: dict[str, Any] = {}
        self._asking = False
        column = QVBoxLayout(self)
        head = QHBoxLayout()
        head.addWidget(label("Quality metrics", "section"))
        head.addStretch(1)
        caption = label("A run's loss measures", "muted")
        self.measure = QComboBox()
        self.measure.setAccessibleName("What a run's loss measures")
        caption.setBuddy(self.measure)
        for name, title in CHOICES:
            self.measure.addItem(title, name)
        self.measure.setCurrentIndex(max(0, self.measure.findData(desk.sitting.settings.metric)))
        self.measure.currentIndexChanged.connect(
            lambda: desk.sitting.change(metric=self.measure.currentData())
        )
        head.addWidget(caption)
        head.addWidget(self.measure)
        count = label("on pictures", "muted")
        self.gate = whole("Pictures that every candidate is judged on", 16, 32, desk.sitting.settings.gate)
        self.gate.setToolTip("More pictures take longer and make intervals narrower")
        self.gate.valueChanged.connect(lambda value: desk.sitting.change(gate=value))
        count.setBuddy(self.gate)
        head.addWidget(count)
        head.addWidget(self.gate)
        column.addLayout(head)
        self._rows = QGridLayout()
        self._rows.setHorizontalSpacing(12)
        self._rows.setColumnStretch(1, 1)
        column.addLayout(self._rows)
        self._note = label(
            "Without these networks: HaarPSI, which measures difference and not worth, and component parity.",
            "muted",
            wrap=True,
        )
        column.addWidget(self._note)

    def look(self) -> None:
        """Ask the worker what is here."""
        if self._asking:
            return
        self._asking = True
        job = self.desk.ask("device", "metrics")
        job.done.connect(lambda result: self.show_networks(result["networks"]))
        job.ended.connect(self._looked)

    def show_networks(self, networks: list[dict[str, Any]]) -> None:
        """A row for each network."""
        self.networks = networks
        while self._rows.count():
            item = self._rows.takeAt(0)
            widget = item.widget() if item is not None else None
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self.get, self.use = {}, {}
        for row, one in enumerate(networks):
            self._add(row, one)

    def consent(self, network: dict[str, Any]) -> str:
        """What is agreed to with a download."""
        return (
            f"{network['title']}\n\n{text.size(network['size'])} from {network['source']}\n"
            f"Licence {network['licence']}\nSHA-256 {network['sha256']}\n\nIt is fetched once and checked."
        )

    def download(self, network: dict[str, Any]) -> None:
        """Fetch a network that the user agreed to."""
        name = network["name"]
        job = self.desk.ask("device", "metrics_get", partial(self.download, network), name=name)
        self.get[name].setEnabled(False)
        job.progress.connect(lambda done, total, doing: self._tell(name, f"{doing} {done}/{total}"))
        job.ended.connect(self.look)

    def point(self, name: str, path: Path) -> None:
        """Use a network's file or folder on disk."""
        job = self.desk.ask("device", "metrics_use", None, name=name, path=str(path))
        self._tell(name, "Checking…")
        job.ended.connect(self.look)

    def _add(self, row: int, one: dict[str, Any]) -> None:
        name = one["name"]
        self._rows.addWidget(label(("✓ " if one["present"] else "○ ") + one["title"]), row, 0)
        said = label(one["text"] if one["present"] else f"for {one['gives']}", "muted", wrap=True)
        said.setToolTip(one["text"])
        self._said[name] = said
        self._rows.addWidget(said, row, 1)
        self.get[name] = QPushButton(f"Download {text.size(one['size'])}…")
        self.get[name].setAccessibleName(f"Download {one['title']}")
        self.get[name].setVisible(not one["present"])
        self.get[name].clicked.connect(partial(self._ask, one))
        self.use[name] = QPushButton("Choose…")
        self.use[name].setProperty("role", "flat")
        self.use[name].setAccessibleName(f"Choose {one['title']} on disk")
        self.use[name].clicked.connect(partial(self._choose, one))
        self._rows.addWidget(self.get[name], row, 2)
        self._rows.addWidget(self.use[name], row, 3)

    def _ask(self, network: dict[str, Any]) -> None:
        answer = QMessageBox.question(self, "Download a network?", self.consent(network))
        if answer == QMessageBox.StandardButton.Yes:
            self.download(network)

    def _choose(self, network: dict[str, Any]) -> None:
        chosen, _ = QFileDialog.getOpenFileName(
            self,
            f"{network['title']}: {network['weights']}",
            "",
            f"Weights (*{Path(network['weights']).suffix})",
        )
        if chosen:
            self.point(network["name"], Path(chosen))

    def _tell(self, name: str, words: str) -> None:
        if name in self._said:
            self._said[name].setText(words)

    def _looked(self) -> None:
        self._asking = False
