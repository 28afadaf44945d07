"""Number fields: named, right-aligned, with a word for "nothing set"."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractSpinBox, QDoubleSpinBox, QSpinBox


def whole(
    name: str, low: int, high: int, value: int, *, step: int = 1, unit: str = "", least: str = ""
) -> QSpinBox:
    """A field for a whole number; `least` is shown in place of the lowest one."""
    made = QSpinBox()
    made.setRange(low, high)
    made.setSingleStep(step)
    made.setValue(value)
    _dress(made, name, least)
    if unit:
        made.setSuffix(f" {unit}")
    return made


def real(
    name: str,
    low: float,
    high: float,
    value: float,
    *,
    digits: int = 1,
    step: float = 1.0,
    unit: str = "",
    least: str = "",
) -> QDoubleSpinBox:
    """A field for a number with `digits` decimals."""
    made = QDoubleSpinBox()
    made.setRange(low, high)
    made.setDecimals(digits)
    made.setSingleStep(step)
    made.setValue(value)
    _dress(made, name, least)
    if unit:
        made.setSuffix(f" {unit}")
    return made


def _dress(field: QAbstractSpinBox, name: str, least: str) -> None:
    field.setAccessibleName(name)
    field.setToolTip(name)
    field.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    if least:
        field.setSpecialValueText(least)
