"""The threshold of a cascade: both curves, a slider under them, figures, a promise, and pictures."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QSlider, QVBoxLayout, QWidget

from studio.plan.cascade import Cascade
from studio.plan.deferral import Operation
from studio.plan.guarantee import Guarantee
from studio.ui import text
from studio.ui.desk import Desk
from studio.ui.pages.cascade_pictures import CascadePictures
from studio.ui.theme import Theme
from studio.ui.widgets.curves import DeferralCurves
from studio.ui.widgets.fields import real
from studio.ui.widgets.labels import Figure, Steady, label

USUAL_SHARE = 0.3
"""Deferred at first where nothing is promised."""


class CascadeThreshold(QWidget):
    """What each threshold defers, takes, is worth, and decides about single pictures.

    Signals:
        export_wanted(): the cascade is to be exported at this threshold.
        problem(str): a wish that no threshold meets.
    """

    export_wanted = Signal()
    problem = Signal(str)

    def __init__(self, desk: Desk, theme: Theme) -> None:
        super().__init__()
        self._sitting = desk.sitting
        self._cascade: Cascade | None = None
        self._quality: Callable[[float], str] = text.number
        body = QVBoxLayout(self)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(6)
        upper = QHBoxLayout()
        upper.setSpacing(16)
        graph = QVBoxLayout()
        graph.setSpacing(4)
        self.curves = DeferralCurves(theme)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName("Threshold")
        self.slider.setRange(0, 0)
        self.slider.setEnabled(False)
        self.slider.setPageStep(10)
        self.slider.valueChanged.connect(self._show_operation)
        self.curves.moved.connect(self.slider.setValue)
        graph.addWidget(self.curves, 1)
        graph.addWidget(self.slider)
        upper.addLayout(graph, 1)
        upper.addLayout(self._figures())
        body.addLayout(upper, 3)
        body.addLayout(self._promising())
        self.pictures = CascadePictures(desk, theme)
        desk.sitting.follow("cascade", self.pictures)
        body.addWidget(self.pictures, 2)
        theme.changed.connect(lambda: self._show_operation(self.slider.value()))

    def _figures(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(8)
        self.share = Figure("Deferred to the heavy model", big=True)
        self.seconds = Figure("Expected latency", big=True)
        self.quality = Figure("Expected quality", big=True)
        for figure in (self.share, self.seconds, self.quality):
            figure.setMinimumWidth(210)
            column.addWidget(Steady(figure))
        column.addStretch(1)
        kept = self._sitting.real("cascade/budget", 0)
        self._budget = real("Latency budget", 0, 1e6, kept, unit="ms", least="no budget")
        self._budget.valueChanged.connect(self._on_budget)
        self._snap = QPushButton("Snap")
        self._snap.setAccessibleName("Move the threshold to the budget")
        self._snap.setToolTip("Move the threshold to the best quality within the budget")
        self._snap.clicked.connect(self.snap)
        row = QHBoxLayout()
        row.addWidget(self._budget, 1)
        row.addWidget(self._snap)
        column.addWidget(label("Latency budget", "small"))
        column.addLayout(row)
        self.export = QPushButton("Export this cascade")
        self.export.setToolTip("Light, heavy, discriminator and this threshold as one package that serves")
        self.export.setEnabled(False)
        self.export.clicked.connect(self.export_wanted)
        column.addWidget(self.export)
        return column

    def _promising(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        self._promise = label("", "small", wrap=True)
        self._promise.setAccessibleName("What is promised of the kept pictures")
        self._rate = QComboBox()
        self._rate.setAccessibleName("Poor pictures allowed among the kept")
        self._rate.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self._rate.activated.connect(lambda: self._show_promise())
        self._keep = QPushButton("Snap")
        self._keep.setAccessibleName("Move the threshold to where the promise holds")
        self._keep.setToolTip("Move the threshold to the lowest at which the promise holds")
        self._keep.clicked.connect(self.snap_to_promise)
        row.addWidget(Steady(self._promise), 1)
        row.addWidget(label("Poor among the kept", "small"))
        row.addWidget(self._rate)
        row.addWidget(self._keep)
        return row

    def show_cascade(self, found: Cascade | None, show_quality: Callable[[float], str]) -> None:
        """A pair at the threshold where its promise holds, else where `USUAL_SHARE` is deferred."""
        self._cascade, self._quality = found, show_quality
        self.slider.setEnabled(found is not None)
        self.export.setEnabled(found is not None)
        self.pictures.show_cascade(found)
        self._rate.clear()
        self._rate.setEnabled(found is not None and bool(found.guarantees))
        if found is None:
            self.slider.setRange(0, 0)
            self.curves.show_curve((), text.number)
            for figure in (self.share, self.seconds, self.quality):
                figure.show_value("–")
            self._show_promise()
            return
        for one in found.guarantees:
            self._rate.addItem(f"at most {text.percent(one.rate)}")
            if one.rate == found.guarded_rate:
                self._rate.setCurrentIndex(self._rate.count() - 1)
        self.slider.setRange(0, len(found.curve) - 1)
        self.curves.show_curve(found.curve, show_quality)
        self._on_budget(self._budget.value())
        middle = min(range(len(found.curve)), key=lambda at: abs(found.curve[at].share - USUAL_SHARE))
        if (safe := found.guarded) is not None:
            middle = min(range(len(found.curve)), key=lambda at: abs(found.curve[at].threshold - safe))
        self.slider.setValue(middle)
        self._show_operation(self.slider.value())

    @property
    def operation(self) -> Operation | None:
        """What the slider stands at."""
        found = self._cascade
        return found.curve[self.slider.value()] if found is not None and found.curve else None

    @property
    def promise(self) -> Guarantee | None:
        """The guarantee that is asked for, held or not."""
        at = self._rate.currentIndex()
        return self._cascade.guarantees[at] if self._cascade is not None and at >= 0 else None

    def go_to(self, threshold: float) -> None:
        """To the operation nearest to a threshold."""
        if self._cascade is not None:
            found = self._cascade.curve
            self.slider.setValue(min(range(len(found)), key=lambda at: abs(found[at].threshold - threshold)))

    def snap(self) -> None:
        """To the best quality within the latency budget."""
        budget = self._budget.value() / 1000
        if self._cascade is None or not budget:
            return
        curve = self._cascade.curve
        within = [at for at, one in enumerate(curve) if one.seconds.value <= budget]
        if within:
            self.slider.setValue(max(within, key=lambda at: curve[at].quality.value))
        else:
            self.problem.emit(
                "Even without the heavy model the budget is exceeded; choose a lighter candidate."
            )

    def snap_to_promise(self) -> None:
        """To the lowest threshold at which the promise holds."""
        found = self.promise
        if self._cascade is None or found is None or found.threshold is None:
            return
        safe = found.threshold
        self.slider.setValue(
            next((at for at, one in enumerate(self._cascade.curve) if one.threshold >= safe), 0)
        )

    def _show_promise(self) -> None:
        found, at = self.promise, self.operation
        self._keep.setEnabled(found is not None and found.threshold is not None)
        if found is None or at is None:
            self._promise.setText("")
            return
        words = found.sentence()
        if found.threshold is not None and at.threshold < found.threshold:
            words += " Here the threshold is lower, so it does not hold."
        self._promise.setText(words)

    def _on_budget(self, value: float) -> None:
        self._sitting.put("cascade/budget", value)
        self.curves.set_budget(value / 1000 if value else None)

    def _show_operation(self, at: int) -> None:
        found = self._cascade
        if found is None or not found.curve:
            return
        self.curves.set_at(at)
        one = found.curve[at]
        likely = one.deferred
        self.share.show_value(
            text.percent(one.share),
            f"{one.light} light, {one.heavy} heavy of {len(found.samples)}; "
            f"{text.span(text.percent(likely.low), text.percent(likely.high))}",
        )
        self.seconds.show_value(
            text.seconds(one.seconds.value),
            f"{text.seconds(one.seconds.low)} – {text.seconds(one.seconds.high)}",
        )
        gain = one.quality.value - one.control
        self.quality.show_value(
            self._quality(one.quality.value),
            f"{self._quality(one.quality.low)} – {self._quality(one.quality.high)}; "
            f"{'+' if gain >= 0 else '−'}{text.difference(found.metric, gain)} against chance",
        )
        self.slider.setAccessibleDescription(
            f"threshold {text.number(one.threshold)}, {text.percent(one.share)} deferred, "
            f"{text.seconds(one.seconds.value)}"
        )
        self.pictures.show_operation(one)
        self._show_promise()
