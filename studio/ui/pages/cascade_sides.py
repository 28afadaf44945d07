"""Light and heavy of a cascade: menus of this run's candidates, and the way to one of another run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from studio.errors import StudioError
from studio.record.journal import NAME
from studio.record.sides import Side, mismatch, sides_of
from studio.ui import text
from studio.ui.widgets.choice import Choice
from studio.ui.widgets.labels import label

OTHER: Final = "From another run …"


class SideMenu(Choice):
    """The candidates that a side may be; the last entry asks for one of another run.

    Signals:
        other_wanted(): that entry was chosen; the side stays what it was.
    """

    other_wanted = Signal()

    def __init__(self, role: str) -> None:
        super().__init__()
        self._before = -1
        self.setAccessibleName(f"{role} candidate")
        self.setMinimumWidth(120)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.view().setTextElideMode(Qt.TextElideMode.ElideNone)
        self.view().setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.currentIndexChanged.connect(self._on_index)
        self.activated.connect(self._on_activated)

    @property
    def side(self) -> str:
        """The chosen candidate by name; empty where there is none."""
        return str(self.currentData() or "")

    @property
    def sides(self) -> list[str]:
        return [str(self.itemData(at)) for at in range(self.count()) if self.itemData(at)]

    def fill(self, titles: Mapping[str, str], chosen: str) -> None:
        """Offer these, by name, and choose one."""
        self.clear()
        for name, title in titles.items():
            self.addItem(title, name)
        if titles:
            self.insertSeparator(self.count())
            self.addItem(OTHER, "")
        self.choose(chosen)

    def choose(self, name: str) -> None:
        at = self.findData(name) if name else -1
        if at >= 0:
            self.setCurrentIndex(at)

    def showPopup(self) -> None:
        """With room for the longest name."""
        bar = self.view().verticalScrollBar().sizeHint().width()
        self.view().setMinimumWidth(self.view().sizeHintForColumn(0) + bar)
        super().showPopup()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Turned over a page that scrolls, a wheel chooses nothing."""
        event.ignore()

    def _on_index(self, at: int) -> None:
        if self.itemData(at):
            self._before = at

    def _on_activated(self, at: int) -> None:
        if not self.itemData(at):
            self.setCurrentIndex(self._before)
            self.other_wanted.emit()


class OtherRun(QDialog):
    """A candidate of another run on this home; what cannot stand beside this run's says why.

    Signals:
        chosen(Side)
    """

    chosen = Signal(object)

    def __init__(self, home: Path, own: Side, role: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._home, self._own = home, own
        self._sides: list[Side] = []
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(f"{role} from another run")
        self.runs, self.candidates = QListWidget(), QListWidget()
        for one, name in ((self.runs, "Runs"), (self.candidates, "Candidates that passed")):
            one.setAccessibleName(name)
            # A name that is too long scrolls; none is cut off.
            one.setTextElideMode(Qt.TextElideMode.ElideNone)
        self.said = label("", "muted", wrap=True)
        self.runs.currentItemChanged.connect(lambda *_: self._on_run())
        self.candidates.currentRowChanged.connect(lambda _: self._on_candidate())
        self.candidates.itemActivated.connect(lambda _: self._on_accepted())
        buttons = QDialogButtonBox()
        self.use = buttons.addButton(f"Use as {role.lower()}", QDialogButtonBox.ButtonRole.AcceptRole)
        self.use.setProperty("role", "primary")
        buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self._on_accepted)
        buttons.rejected.connect(self.reject)
        row = QHBoxLayout()
        for title, one in (("Run", self.runs), ("Candidate", self.candidates)):
            block = QVBoxLayout()
            block.addWidget(label(title, "section"))
            block.addWidget(one)
            row.addLayout(block, 1 if one is self.runs else 2)
        column = QVBoxLayout(self)
        column.addLayout(row, 1)
        column.addWidget(self.said)
        column.addWidget(buttons)
        self.resize(760, 460)
        for folder in _others(home, own.run):
            item = QListWidgetItem(folder.name)
            item.setData(Qt.ItemDataRole.UserRole, folder)
            self.runs.addItem(item)
        self.runs.setCurrentRow(0)
        if not self.runs.count():
            self.said.setText(
                "There is no other run yet: evolve another model, then take a candidate of it here."
            )
            self.use.setEnabled(False)

    def _on_run(self) -> None:
        item = self.runs.currentItem()
        self._sides = []
        self.candidates.clear()
        if item is not None:
            self.said.setText(self._read(item.data(Qt.ItemDataRole.UserRole)))
        for side in self._sides:
            self.candidates.addItem(_line(side))
        self.candidates.setCurrentRow(0)
        self._on_candidate()

    def _read(self, folder: Path) -> str:
        """Take in a run; what is to be said of it."""
        try:
            sides = sides_of(folder, self._home)
        except StudioError as error:
            return str(error)
        if not sides:
            return "No candidate of this run has passed yet."
        why = mismatch(self._own, sides[0])
        if why:
            return why
        self._sides = sides
        card = sides[0].started.model
        return f"{card.name}: {card.task}, {sides[0].size} px, for {sides[0].started.target}."

    def _on_candidate(self) -> None:
        self.use.setEnabled(self.candidates.currentRow() >= 0)

    def _on_accepted(self) -> None:
        at = self.candidates.currentRow()
        if at >= 0:
            self.chosen.emit(self._sides[at])
            self.accept()


def _others(home: Path, run: Path) -> list[Path]:
    """Folders of the other runs, newest first."""
    base = home / "runs"
    found = [one for one in base.iterdir() if (one / NAME).is_file()] if base.is_dir() else []
    return sorted((one for one in found if one.resolve() != run.resolve()), reverse=True)


def _line(side: Side) -> str:
    verdict = side.candidate.verdict
    latency = verdict.latency if verdict is not None else None
    took = f", {text.seconds(latency.value)}" if latency is not None else ""
    return f"{side.candidate.id}  {side.candidate.proposal.title}{took}"
