"""Candidates as a table: rows inserted once a batch, only changed rows signalled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QColor, QFont

from studio.record.data import Interval
from studio.record.state import CandidateState
from studio.ui import text
from studio.ui.models.run import WORDS, Changes, RunModel, Standing
from studio.ui.theme import Theme

SORT: Final = Qt.ItemDataRole.UserRole + 1
ID: Final = Qt.ItemDataRole.UserRole + 2
SHAPES: Final[dict[Standing, str]] = {
    "baseline": "★",
    "running": "◌",
    "front": "●",
    "passed": "○",
    "failed": "✕",
    "quarantined": "▲",
    "declined": "–",
}
ROLES: Final[dict[Standing, str]] = {
    "baseline": "warn",
    "running": "accent",
    "front": "accent",
    "passed": "muted",
    "failed": "bad",
    "quarantined": "warn",
    "declined": "muted",
}
Index = QModelIndex | QPersistentModelIndex
ROOT: Final = QModelIndex()


@dataclass(frozen=True, slots=True)
class Column:
    """One column: what is shown, what it is sorted by, whether it is a number."""

    title: str
    tip: str
    shown: Callable[[CandidateState, RunModel], str]
    sorted_by: Callable[[CandidateState, RunModel], float | str]
    number: bool = True


def _measured(get: Callable[[Any], Any], show: Callable[[float], str]) -> dict[str, Any]:
    def value(candidate: CandidateState) -> float | None:
        found = None if candidate.verdict is None else get(candidate.verdict)
        return found.value if isinstance(found, Interval) else found

    def shown(candidate: CandidateState, _: RunModel) -> str:
        found = value(candidate)
        return "" if found is None else show(found)

    def key(candidate: CandidateState, _: RunModel) -> float:
        found = value(candidate)
        return float("inf") if found is None else found

    return {"shown": shown, "sorted_by": key}


def _loss_shown(candidate: CandidateState, run: RunModel) -> str:
    verdict = candidate.verdict
    return "" if verdict is None or verdict.loss is None else text.loss(verdict.loss.value, run.metric)


COLUMNS: Final[tuple[Column, ...]] = (
    Column("Id", "Name of the candidate", lambda c, _: c.id, lambda c, _: c.id, number=False),
    Column(
        "State",
        "What the stages found",
        lambda c, run: f"{SHAPES[run.standing(c.id)]} {WORDS[run.standing(c.id)]}",
        lambda c, run: run.standing(c.id),
        number=False,
    ),
    Column("Gen", "Generation", lambda c, _: str(c.proposal.generation), lambda c, _: c.proposal.generation),
    Column(
        "Latency", "Seconds per image, whole pipeline, warm", **_measured(lambda v: v.latency, text.seconds)
    ),
    Column("Speed-up", "Baseline time over candidate time", **_measured(lambda v: v.speedup, text.ratio)),
    Column(
        "Loss",
        "Quality loss; the baseline is 0",
        _loss_shown,
        _measured(lambda v: v.loss, text.number)["sorted_by"],
    ),
    Column(
        "Memory",
        "Peak on the card that it ran on, else of its process",
        **_measured(lambda v: v.held, lambda m: text.size(m * 2**20)),
    ),
    Column(
        "Recipe", "What was tried", lambda c, _: c.proposal.title, lambda c, _: c.proposal.title, number=False
    ),
)


class CandidateTable(QAbstractTableModel):
    """Rows in the order of proposal; sort through a proxy with role `SORT`."""

    def __init__(self, run: RunModel, theme: Theme) -> None:
        super().__init__()
        self._run = run
        self._theme = theme
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._brushes: dict[str, QColor] = {}
        self._bold = QFont()
        self._restyle()
        run.changed.connect(self._on_changed)
        theme.changed.connect(self._restyle)
        self._on_changed(Changes(everything=True))

    def row(self, name: str) -> int | None:
        return self._rows.get(name)

    def rowCount(self, parent: Index = ROOT) -> int:
        return 0 if parent.isValid() else len(self._ids)

    def columnCount(self, parent: Index = ROOT) -> int:
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation == Qt.Orientation.Horizontal and 0 <= section < len(COLUMNS):
            column = COLUMNS[section]
            if role == Qt.ItemDataRole.DisplayRole:
                return column.title
            if role == Qt.ItemDataRole.ToolTipRole:
                return column.tip
            if role == Qt.ItemDataRole.TextAlignmentRole:
                side = Qt.AlignmentFlag.AlignRight if column.number else Qt.AlignmentFlag.AlignLeft
                return side | Qt.AlignmentFlag.AlignVCenter
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or index.row() >= len(self._ids):
            return None
        name = self._ids[index.row()]
        candidate = self._run.state.candidates[name]
        column = COLUMNS[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.shown(candidate, self._run)
        if role == SORT:
            return column.sorted_by(candidate, self._run)
        if role == ID:
            return name
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if column.number else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ForegroundRole and index.column() == 1:
            return self._brushes[ROLES[self._run.standing(name)]]
        if role == Qt.ItemDataRole.ToolTipRole:
            verdict = candidate.verdict
            return verdict.reason if verdict is not None and verdict.reason else candidate.proposal.why
        return None

    def _restyle(self) -> None:
        self._brushes = {role: self._theme.colour(role) for role in set(ROLES.values())}
        if self._ids:
            self.dataChanged.emit(
                self.index(0, 1), self.index(len(self._ids) - 1, 1), [Qt.ItemDataRole.ForegroundRole]
            )

    def _on_changed(self, changes: Changes) -> None:
        known = self._run.state.candidates
        if changes.everything:
            self.beginResetModel()
            self._ids = list(known)
            self._rows = {name: at for at, name in enumerate(self._ids)}
            self.endResetModel()
            return
        fresh = [name for name in changes.added if name not in self._rows and name in known]
        if fresh:
            first = len(self._ids)
            self.beginInsertRows(ROOT, first, first + len(fresh) - 1)
            for name in fresh:
                self._rows[name] = len(self._ids)
                self._ids.append(name)
            self.endInsertRows()
        roles = [Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ForegroundRole, SORT]
        for name in changes.updated:
            at = self._rows.get(name)
            if at is not None:
                self.dataChanged.emit(self.index(at, 1), self.index(at, len(COLUMNS) - 1), roles)
