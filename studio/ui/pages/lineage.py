"""Who comes from whom: a column a generation, an edge from each parent, a lane below for the failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QShowEvent,
)
from PySide6.QtWidgets import QScrollArea, QToolTip, QWidget

from studio.record.state import CandidateState
from studio.ui.desk import Desk
from studio.ui.models.candidates import ROLES, SHAPES
from studio.ui.models.run import WORDS, Changes, RunModel
from studio.ui.theme import SMALL, Theme

COLUMN: Final = 116
ROW: Final = 24
HEAD: Final = 22
LEFT: Final = 12


@dataclass(frozen=True, slots=True)
class Node:
    """A candidate's place: column from the left, row from the top of its lane."""

    name: str
    column: int
    row: int
    failed: bool


def layout(candidates: dict[str, CandidateState]) -> tuple[list[Node], int]:
    """Places of all candidates, and the rows of the upper lane.

    Columns are generations, the baseline's first.  A candidate stands on its
    first parent's row where that is free, so that lines run level.
    """
    generations = sorted({one.proposal.generation for one in candidates.values()})
    column = {generation: at for at, generation in enumerate(generations)}
    taken: dict[tuple[int, bool], set[int]] = {}
    free: dict[tuple[int, bool], int] = {}
    rows: dict[str, int] = {}
    nodes = []
    for name, one in candidates.items():
        failed = one.verdict is not None and one.verdict.state == "failed"
        lane = (column[one.proposal.generation], failed)
        used = taken.setdefault(lane, set())
        parents = [rows[parent] for parent in one.proposal.parents if parent in rows and parent != "c000"]
        wanted = parents[0] if parents and not failed else 0
        row = wanted
        if row in used:
            row = free.get(lane, 0)
            while row in used:
                row += 1
            free[lane] = row
        used.add(row)
        if not failed:
            rows[name] = row
        nodes.append(Node(name, column[one.proposal.generation], row, failed))
    return nodes, 1 + max((node.row for node in nodes if not node.failed), default=0)


class LineageTree(QWidget):
    """Drawn in one pass; a click or an arrow key selects.

    Signals:
        selected(str): a candidate was chosen.
    """

    selected = Signal(str)

    def __init__(self, run: RunModel, theme: Theme) -> None:
        super().__init__()
        self._run, self._theme = run, theme
        self._nodes: list[Node] = []
        self._upper = 1
        self._current = ""
        self._stale = False
        """Whether something changed while nobody looked."""
        self.setAccessibleName("Lineage")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        run.changed.connect(self._on_changed)
        theme.changed.connect(self._rebuild)
        self._rebuild()

    def select(self, name: str) -> None:
        self._current = name
        self.update()

    def place(self, name: str) -> QPointF | None:
        """Centre of a candidate's mark; None: it is not here."""
        if self._stale:
            self._rebuild()
        found = next((node for node in self._nodes if node.name == name), None)
        return None if found is None else self._centre(found)

    def _on_changed(self, changes: Changes) -> None:
        if changes.everything or changes.added or changes.updated or changes.front:
            if self.isVisible():
                self._rebuild()
            else:
                self._stale = True

    def showEvent(self, event: QShowEvent) -> None:
        if self._stale:
            self._rebuild()
        super().showEvent(event)

    def _rebuild(self) -> None:
        self._stale = False
        self._nodes, self._upper = layout(self._run.state.candidates)
        failed = sum(node.failed for node in self._nodes)
        self.setAccessibleDescription(
            f"{len(self._nodes)} candidates in {1 + max((node.column for node in self._nodes), default=0)} "
            f"columns, {failed} failed"
        )
        self.setMinimumSize(self.sizeHint())
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        scale = self._theme.scale
        columns = 1 + max((node.column for node in self._nodes), default=0)
        lower = 1 + max((node.row for node in self._nodes if node.failed), default=-1)
        height = HEAD + self._upper * ROW + (ROW + lower * ROW if lower else 0) + 8
        return QSize(round((LEFT + columns * COLUMN) * scale), round(height * scale))

    def _centre(self, node: Node) -> QPointF:
        scale = self._theme.scale
        row = node.row + (self._upper + 1 if node.failed else 0)
        return QPointF((LEFT + node.column * COLUMN + 8) * scale, (HEAD + (row + 0.5) * ROW) * scale)

    def _at(self, point: QPointF) -> Node | None:
        scale = self._theme.scale
        for node in self._nodes:
            centre = self._centre(node)
            box = QRectF(centre.x() - 10 * scale, centre.y() - 11 * scale, (COLUMN - 8) * scale, 22 * scale)
            if box.contains(point):
                return node
        return None

    # -- drawing --------------------------------------------------------------------------------

    def paintEvent(self, _: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self._theme.font(SMALL))
        scale = self._theme.scale
        state = self._run.state
        heads = {
            node.column: state.candidates[node.name].proposal.generation
            for node in self._nodes
            if node.name in state.candidates
        }
        painter.setPen(self._theme.colour("muted"))
        for column, generation in heads.items():
            words = "baseline" if generation == 0 else f"generation {generation}"
            painter.drawText(QPointF((LEFT + column * COLUMN) * scale, 14 * scale), words)
        if any(node.failed for node in self._nodes):
            top = (HEAD + (self._upper + 0.5) * ROW) * scale
            painter.setPen(QPen(self._theme.colour("line"), 1))
            painter.drawLine(QPointF(0, top - 8 * scale), QPointF(self.width(), top - 8 * scale))
            painter.setPen(self._theme.colour("bad"))
            painter.drawText(QPointF(LEFT * scale, top + 5 * scale), "failed")
        centres = {node.name: self._centre(node) for node in self._nodes}
        for node in self._nodes:
            for parent in state.candidates[node.name].proposal.parents:
                if parent in centres:
                    self._edge(painter, centres[parent], centres[node.name], node.name == self._current)
        for node in self._nodes:
            self._mark(painter, node, centres[node.name])
        painter.end()

    def _edge(self, painter: QPainter, start: QPointF, end: QPointF, strong: bool) -> None:
        path = QPainterPath(start)
        if abs(end.x() - start.x()) < 1:
            side = QPointF(start.x() - 9 * self._theme.scale, (start.y() + end.y()) / 2)
            path.quadTo(side, end)
        else:
            middle = (start.x() + end.x()) / 2
            path.cubicTo(QPointF(middle, start.y()), QPointF(middle, end.y()), end)
        painter.setPen(QPen(self._theme.colour("accent" if strong else "muted"), 2.0 if strong else 1.0))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(path)

    def _mark(self, painter: QPainter, node: Node, centre: QPointF) -> None:
        scale = self._theme.scale
        standing = self._run.standing(node.name)
        if node.name == self._current:
            box = QRectF(centre.x() - 10 * scale, centre.y() - 10 * scale, (COLUMN - 14) * scale, 20 * scale)
            painter.setPen(QPen(self._theme.colour("accent"), 2 if self.hasFocus() else 1))
            painter.setBrush(self._theme.colour("raised"))
            painter.drawRoundedRect(box, 6, 6)
        disc = QRectF(centre.x() - 8 * scale, centre.y() - 8 * scale, 16 * scale, 16 * scale)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.colour("raised" if node.name == self._current else "ground"))
        painter.drawEllipse(disc)
        painter.setPen(self._theme.colour(ROLES[standing]))
        painter.drawText(disc, Qt.AlignmentFlag.AlignCenter, SHAPES[standing])
        candidate = self._run.state.candidates[node.name]
        speedup = candidate.verdict.speedup if candidate.verdict is not None else None
        words = node.name + (f"  {speedup.value:.2f}×" if speedup is not None and node.name != "c000" else "")
        painter.setPen(self._theme.colour("text"))
        painter.drawText(QPointF(centre.x() + 12 * scale, centre.y() + 4 * scale), words)

    # -- choosing -------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        node = self._at(event.position())
        if node is not None:
            self.selected.emit(node.name)
        super().mousePressEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {
            Qt.Key.Key_Left: (-1, 0),
            Qt.Key.Key_Right: (1, 0),
            Qt.Key.Key_Up: (0, -1),
            Qt.Key.Key_Down: (0, 1),
        }.get(Qt.Key(event.key()))
        found = None if step is None else self._next(*step)
        if found is None:
            super().keyPressEvent(event)
            return
        self.selected.emit(found)

    def _next(self, right: int, down: int) -> str | None:
        """The nearest candidate in a direction; the first one where none is chosen."""
        here = self.place(self._current)
        if here is None:
            return self._nodes[0].name if self._nodes else None
        best: tuple[float, str] | None = None
        for node in self._nodes:
            away = self._centre(node) - here
            along, aside = (away.x() * right, abs(away.y())) if right else (away.y() * down, abs(away.x()))
            if along > 1 and (right or aside < 1):
                best = min(best or (float("inf"), ""), (along + 3 * aside, node.name))
        return None if best is None else best[1]

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            node = self._at(QPointF(event.pos()))
            if node is not None:
                proposal = self._run.state.candidates[node.name].proposal
                standing = WORDS[self._run.standing(node.name)]
                more = f"\nBeyond its recipe: {proposal.code}" if proposal.code else ""
                words = f"{node.name} {proposal.title} ({standing}){more}\n{proposal.why}"
                QToolTip.showText(event.globalPos(), words, self)
                return True
            QToolTip.hideText()
        return super().event(event)


class LineageView(QScrollArea):
    """The tree, scrolled where it is larger than its place."""

    def __init__(self, desk: Desk, theme: Theme) -> None:
        super().__init__()
        self.tree = LineageTree(desk.run, theme)
        self._desk = desk
        self.setWidget(self.tree)
        self.setWidgetResizable(True)
        self.setFocusProxy(self.tree)
        self.setAccessibleName("Lineage")
        self.tree.selected.connect(desk.select)
        desk.selection_changed.connect(self._on_selection)
        self._on_selection(desk.selected)

    def _on_selection(self, name: str) -> None:
        self.tree.select(name)
        place = self.tree.place(name) if self.isVisible() else None
        if place is not None:
            self.ensureVisible(round(place.x()), round(place.y()), 80, 40)
