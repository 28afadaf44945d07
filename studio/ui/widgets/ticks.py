"""Generations as ticks that fill while their candidates are judged."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from studio.ui.models.run import Changes, RunModel
from studio.ui.theme import SMALL, Theme


class GenerationTicks(QWidget):
    """One tick a generation; generation 0 is the baseline and the seeds."""

    def __init__(self, run: RunModel, theme: Theme) -> None:
        super().__init__()
        self._run, self._theme = run, theme
        self.setAccessibleName("Generations")
        run.changed.connect(self._on_changed)
        theme.changed.connect(self.updateGeometry)

    def filled(self) -> list[float]:
        """Share of each generation's candidates that are judged, from the first generation on."""
        state = self._run.state
        planned = state.started.generations if state.started is not None else 0
        members: dict[int, list[bool]] = {}
        for candidate in state.candidates.values():
            if candidate.proposal.origin != "baseline":
                members.setdefault(candidate.proposal.generation, []).append(candidate.verdict is not None)
        first = min(members, default=state.generation)
        shares = []
        for at in range(first, first + max(planned, len(members))):
            judged = members.get(at, [])
            size = max(len(judged), state.started.population if state.started else 1)
            past = at < state.generation or (state.finished is not None and bool(judged))
            shares.append(1.0 if past and judged else sum(judged) / size)
        return shares

    def sizeHint(self) -> QSize:
        return QSize(round(170 * self._theme.scale), round(26 * self._theme.scale))

    def minimumSizeHint(self) -> QSize:
        return QSize(90, round(26 * self._theme.scale))

    def _on_changed(self, changes: Changes) -> None:
        if changes.everything or changes.updated or changes.added or changes.phase:
            shares = self.filled()
            done = sum(share >= 1 for share in shares)
            self.setAccessibleDescription(f"{done} of {len(shares)} done")
            self.setToolTip(f"{done} of {len(shares)} generations done")
            self.update()

    def paintEvent(self, _: QPaintEvent) -> None:
        shares = self.filled()
        if not shares:
            return
        painter = QPainter(self)
        painter.setFont(self._theme.font(SMALL))
        painter.setPen(self._theme.colour("muted"))
        done = sum(share >= 1 for share in shares)
        words = f"gen {min(done + 1, len(shares))}/{len(shares)}"
        width = painter.fontMetrics().horizontalAdvance(words) + 10
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, words)
        space = (self.width() - width) / len(shares)
        painter.setPen(Qt.PenStyle.NoPen)
        for at, share in enumerate(shares):
            box = QRectF(width + at * space, self.height() / 2 - 4, max(2.0, space - 3), 8)
            painter.setBrush(self._theme.colour("line"))
            painter.drawRoundedRect(box, 2, 2)
            box.setWidth(box.width() * share)
            painter.setBrush(self._theme.colour("accent"))
            painter.drawRoundedRect(box, 2, 2)
        painter.end()
