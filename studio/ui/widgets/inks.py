"""Pens, brushes and ticks of plots; pens and brushes are made once, which is what makes plots quick."""

from __future__ import annotations

import math

from PySide6.QtGui import QBrush, QColor, QPen
from PySide6.QtWidgets import QWidget

from studio.ui import text


class Inks:
    """Pens and brushes by colour and opacity, for one widget's density."""

    def __init__(self, widget: QWidget) -> None:
        self._widget = widget
        self._pens: dict[tuple[str, float, float], QPen] = {}
        self._brushes: dict[tuple[str, float], QBrush] = {}

    def clear(self) -> None:
        self._pens.clear()
        self._brushes.clear()

    def pen(self, colour: str, width: float = 1, opacity: float = 1.0) -> QPen:
        """A pen of `width` logical pixels, whatever the zoom."""
        width *= self._widget.devicePixelRatioF()
        key = (colour, width, opacity)
        if key not in self._pens:
            shade = QColor(colour)
            shade.setAlphaF(opacity)
            pen = QPen(shade, width)
            pen.setCosmetic(True)
            self._pens[key] = pen
        return self._pens[key]

    def brush(self, colour: str, opacity: float = 1.0) -> QBrush:
        key = (colour, opacity)
        if key not in self._brushes:
            shade = QColor(colour)
            shade.setAlphaF(opacity)
            self._brushes[key] = QBrush(shade)
        return self._brushes[key]


def log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Ticks of a logarithmic axis between two decimal logarithms of seconds."""
    for steps in ((1, 2, 5), (1, 1.5, 2, 3, 5, 7), tuple(n / 10 for n in range(10, 100))):
        found = [
            math.log10(step) + power
            for power in range(math.floor(low), math.ceil(high) + 1)
            for step in steps
            if low <= math.log10(step) + power <= high
        ]
        if len(found) >= 4:
            break
    skip = max(1, len(found) // 9)
    return [(at, text.tick(float(f"{10**at:.2g}"))) for at in found[::skip]]
