"""How the discriminator learns, tells good pictures from poor ones, and means what it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QPainter, QPen
from PySide6.QtWidgets import QWidget

from studio.plan.cascade import Scorer
from studio.plan.discrimination import Bin
from studio.plan.learning import Epoch, stages
from studio.ui import text
from studio.ui.theme import Theme
from studio.ui.widgets.plot import Plot, Range

DRAWN = ("discriminator", "real against generated", "heavy beats light", "words alone", "caption length")
"""Ways to decide whose ROC curve is drawn; chance is the diagonal."""
INKS = (0, 1, 6, 3, 2)
"""Of the theme's series, for each of `DRAWN`."""


class LearningCurve(Plot):
    """Loss by epoch while the discriminator is trained, one network after the other."""

    across = "epochs, one network after the other"
    empty = "The curve grows here while a discriminator is trained"

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(theme, "Loss while the discriminator is trained", parent)
        self._epochs: list[Epoch] = []

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        """What is drawn."""
        return tuple(self._epochs)

    def show_epochs(self, epochs: Sequence[Epoch]) -> None:
        """All of them."""
        self._epochs = list(epochs)
        self._changed()

    def add(self, epoch: Epoch) -> None:
        """One more."""
        self._epochs.append(epoch)
        self._changed()

    def _changed(self) -> None:
        self.setAccessibleDescription(_told(self._epochs[-1]) if self._epochs else "")
        self.update()

    def ready(self) -> bool:
        return bool(self._epochs)

    def ranges(self) -> tuple[Range, Range]:
        losses = [one.learned for one in self._epochs]
        losses += [one.held for one in self._epochs if one.held is not None]
        return (1.0, float(max(2, len(self._epochs)))), (0.0, 1.05 * max(losses) or 1.0)

    def ticks(self) -> tuple[Callable[[float], str], Callable[[float], str]]:
        return (lambda value: f"{value:.0f}"), (lambda value: f"{value:.2f}")

    def titles(self) -> Sequence[tuple[str, QColor]]:
        return (
            ("Learned from", self.series(0)),
            ("Held out", self.series(1)),
            (self._epochs[-1].stage, self._theme.colour("muted")),
        )

    def draw(self, painter: QPainter, place: Callable[[float, float], QPointF]) -> None:
        at, top = 0, self.ranges()[1][1]
        for stage in stages(tuple(self._epochs)):
            if at:
                painter.setPen(QPen(self._theme.colour("line"), 1))
                painter.drawLine(place(at + 0.5, 0.0), place(at + 0.5, top))
            learned, held = [], []
            for epoch in stage:
                at += 1
                learned.append(place(at, epoch.learned))
                if epoch.held is not None:
                    held.append(place(at, epoch.held))
            for points, colour in ((learned, self.series(0)), (held, self.series(1))):
                self.line(painter, points, colour)
                painter.setBrush(colour)
                for point in points:
                    painter.drawEllipse(point, 1.5, 1.5)


def _told(epoch: Epoch) -> str:
    held = "" if epoch.held is None else f", held out {epoch.held:.2f}"
    return f"{epoch.stage}, epoch {epoch.number}: loss {epoch.learned:.2f}{held}"


class RocCurves(Plot):
    """True over false positive rate of every way to decide, held out; the diagonal is chance."""

    across = "poor pictures kept"
    empty = "ROC curves appear once a discriminator is trained"

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(theme, "Held-out ROC curves of the ways to decide", parent)
        self._scorers: list[Scorer] = []

    def show_scorers(self, scorers: Sequence[Scorer]) -> None:
        self._scorers = [one for one in scorers if one.roc and one.name in DRAWN]
        words = [
            f"{one.name}: area {text.number(one.auc.value)}" for one in self._scorers if one.auc is not None
        ]
        self.setAccessibleDescription("; ".join(words))
        self.setToolTip("Good pictures kept, over poor ones kept; dashed: chance.\n" + "\n".join(words))
        self.update()

    def ready(self) -> bool:
        return bool(self._scorers)

    def titles(self) -> Sequence[tuple[str, QColor]]:
        short = {"real against generated": "real", "caption length": "length", "words alone": "words"}
        return [(short.get(one.name, one.name), self._ink(one.name)) for one in self._scorers]

    def _ink(self, name: str) -> QColor:
        return self.series(INKS[DRAWN.index(name)])

    def draw(self, painter: QPainter, place: Callable[[float, float], QPointF]) -> None:
        _diagonal(painter, self._theme, place)
        for one in reversed(self._scorers):
            wide = 2 if one is self._scorers[0] else 1.2
            self.line(painter, [place(false, true) for false, true in one.roc], self._ink(one.name), wide)


class ReliabilityPlot(Plot):
    """Share of good pictures found in each bin of scores, over what the scores said."""

    across = "score: said to be good enough"
    empty = "Calibration appears once a discriminator is trained"

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(theme, "Calibration of the scores: said and found", parent)
        self._bins: tuple[Bin, ...] = ()

    def show_bins(self, bins: tuple[Bin, ...]) -> None:
        self._bins = bins
        words = [
            f"said {text.percent(one.said)}, found {text.percent(one.found)} of {one.count}" for one in bins
        ]
        self.setAccessibleDescription("; ".join(words))
        self.setToolTip("\n".join(words))
        self.update()

    def ready(self) -> bool:
        return bool(self._bins)

    def titles(self) -> Sequence[tuple[str, QColor]]:
        return (
            ("Found good, with 95 %", self.series(0)),
            ("dashed: calibrated", self._theme.colour("muted")),
        )

    def draw(self, painter: QPainter, place: Callable[[float, float], QPointF]) -> None:
        _diagonal(painter, self._theme, place)
        ink = self.series(0)
        self.line(painter, [place(one.said, one.found) for one in self._bins], ink)
        for one in self._bins:
            spread = one.interval
            painter.setPen(QPen(ink, 1))
            painter.drawLine(place(one.said, spread.low), place(one.said, spread.high))
            painter.setBrush(ink)
            painter.drawEllipse(place(one.said, one.found), 4, 4)


def _diagonal(painter: QPainter, theme: Theme, place: Callable[[float, float], QPointF]) -> None:
    painter.setPen(QPen(theme.colour("muted"), 1, Qt.PenStyle.DashLine))
    painter.drawLine(place(0, 0), place(1, 1))
