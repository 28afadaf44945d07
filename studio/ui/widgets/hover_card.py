"""What a point of the plot is: picture and four numbers, beside the pointer."""

from __future__ import annotations

from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QImage, QPixmap
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from studio.record.verdict import Verdict
from studio.ui import text
from studio.ui.models.run import WORDS, RunModel
from studio.ui.pictures import Pictures
from studio.ui.widgets.labels import label

THUMBNAIL = 96
WIDTH = 340


def thumbnail(picture: QImage, size: int, ratio: float) -> QPixmap:
    """A picture in a square of `size` logical pixels; small ones by whole factors without blur."""
    pixels = round(size * ratio)
    grow = picture.width() <= pixels
    mode = Qt.TransformationMode.FastTransformation if grow else Qt.TransformationMode.SmoothTransformation
    made = QPixmap.fromImage(picture.scaled(pixels, pixels, Qt.AspectRatioMode.KeepAspectRatio, mode))
    made.setDevicePixelRatio(ratio)
    return made


class HoverCard(QFrame):
    """Floats over its parent; never takes mouse or focus."""

    def __init__(self, run: RunModel, pictures: Pictures, parent: QWidget) -> None:
        super().__init__(parent)
        self._run, self._pictures, self._over = run, pictures, parent
        self._path = ""
        self.setProperty("role", "overlay")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 8, 12, 8)
        row.setSpacing(12)
        self._picture = QLabel()
        self._picture.setFixedSize(THUMBNAIL, THUMBNAIL)
        row.addWidget(self._picture)
        column = QVBoxLayout()
        column.setSpacing(2)
        self._title = label("", wrap=True)
        self._state = label("", "small", wrap=True)
        column.addWidget(self._title)
        column.addWidget(self._state)
        grid = QGridLayout()
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(0)
        self._numbers: list[QLabel] = []
        for at, name in enumerate(("Latency", "Speed-up", "Loss", "Memory")):
            grid.addWidget(label(name, "small"), at, 0)
            number = label("")
            number.setAlignment(Qt.AlignmentFlag.AlignRight)
            grid.addWidget(number, at, 1)
            self._numbers.append(number)
        column.addLayout(grid)
        self._engines = label("", "small", wrap=True)
        column.addWidget(self._engines)
        column.addStretch(1)
        row.addLayout(column)
        pictures.ready.connect(self._on_ready)
        self.hide()

    def show_candidate(self, name: str, at: QPointF) -> None:
        """Describe a candidate beside a place of the parent."""
        candidate = self._run.state.candidates[name]
        verdict = candidate.verdict
        self._title.setText(f"{name}  {candidate.proposal.title}")
        state = WORDS[self._run.standing(name)]
        if verdict is None:
            state = f"{candidate.stage or 'waiting'} {candidate.message}".strip()
        elif verdict.reason:
            state = f"{state}: {verdict.reason}"
        self._state.setText(state[:160])
        shown = ["–"] * 4
        if verdict is not None:
            if verdict.latency:
                shown[0] = text.seconds(verdict.latency.value)
            if verdict.speedup:
                shown[1] = text.ratio(verdict.speedup.value)
            if verdict.loss:
                shown[2] = text.loss(verdict.loss.value, self._run.metric)
            if verdict.held is not None:
                shown[3] = text.size(verdict.held * 2**20)
        for label_, value in zip(self._numbers, shown, strict=True):
            label_.setText(value)
        self._engines.setText(_engines(verdict))
        self._engines.setVisible(bool(self._engines.text()))
        path = self._run.first_picture(name)
        self._path = "" if path is None else str(path)
        self._picture.setVisible(path is not None)
        self._show_picture()
        layout = self.layout()
        if layout is not None:
            layout.activate()
            self.resize(WIDTH, max(layout.totalHeightForWidth(WIDTH), layout.totalMinimumSize().height()))
        parent = self._over
        x = at.x() + 16 if at.x() + 16 + self.width() < parent.width() else at.x() - 16 - self.width()
        y = min(max(4.0, at.y() - self.height() / 2), max(4.0, parent.height() - self.height() - 4.0))
        self.move(round(max(4.0, x)), round(y))
        self.show()
        self.raise_()

    def _show_picture(self) -> None:
        picture = self._pictures.get(self._path or None)
        if picture is None or picture.isNull():
            self._picture.clear()
        else:
            self._picture.setPixmap(thumbnail(picture, THUMBNAIL, self.devicePixelRatioF()))

    def _on_ready(self, path: str) -> None:
        if path == self._path and self.isVisible():
            self._show_picture()


def _engines(verdict: Verdict | None) -> str:
    """What a candidate's engines were built for, where they were verified, and how near to eager they are."""
    if verdict is None or not verdict.engines:
        return ""
    lines = [f"Built for: {verdict.built_for}", f"Verified on: {verdict.verified_on}"]
    if (worst := verdict.parity) is not None:
        lines.append(f"{text.PARITY}: {worst.likeness}")
    return "\n".join(lines)
