"""A slider with its name and its value, even or logarithmic."""

from __future__ import annotations

import math
from collections.abc import Callable

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QSlider, QVBoxLayout, QWidget

from studio.ui.widgets.labels import label

_STEPS = 400


class ScaleSlider(QWidget):
    """A number between two bounds.

    Signals:
        changed(float): by the user or by `set_value`.
    """

    changed = Signal(float)

    def __init__(
        self,
        name: str,
        low: float,
        high: float,
        value: float,
        show: Callable[[float], str],
        *,
        even: bool = False,
        whole: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._low, self._high, self._show, self._even, self._whole = low, high, show, even, whole
        self._exact: float | None = None
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._slider.setRange(0, _STEPS)
        self._slider.setPageStep(_STEPS // 20)
        self._slider.setAccessibleName(name)
        self._value = label("", "section")
        self._value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        caption = label(name, "small")
        caption.setBuddy(self._slider)
        top = QHBoxLayout()
        top.setContentsMargins(0, 0, 0, 0)
        top.addWidget(caption)
        top.addStretch(1)
        top.addWidget(self._value)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(top)
        column.addWidget(self._slider)
        self._slider.valueChanged.connect(self._on_moved)
        self.set_value(value)

    @property
    def value(self) -> float:
        """What was set, or where the handle stands."""
        if self._exact is not None:
            return self._exact
        share = self._slider.value() / _STEPS
        if self._even:
            found = self._low + share * (self._high - self._low)
        else:
            found = self._low * (self._high / self._low) ** share
        return float(round(found)) if self._whole else float(f"{found:.3g}")

    def set_value(self, value: float) -> None:
        """Within the bounds; the value is kept exactly, the handle goes to the nearest place."""
        value = min(self._high, max(self._low, value))
        if self._even:
            share = (value - self._low) / (self._high - self._low)
        else:
            share = math.log(value / self._low) / math.log(self._high / self._low)
        blocked = self._slider.blockSignals(True)
        self._slider.setValue(round(share * _STEPS))
        self._slider.blockSignals(blocked)
        self._exact = value
        self._tell()

    def _on_moved(self) -> None:
        self._exact = None
        self._tell()

    def _tell(self) -> None:
        shown = self._show(self.value)
        self._value.setText(shown)
        self._slider.setAccessibleDescription(shown)
        self.changed.emit(self.value)
