"""No sentence of a list is cut, whatever the width of the list and the size of the text."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QRect, Qt
from pytestqt.qtbot import QtBot

from studio.ui.app import application
from studio.ui.theme import Theme
from studio.ui.widgets.wrapped_list import WrappedList

SENTENCES = (
    "✓  Its script does what its recipe says, and nothing more.",
    "✓  Certified: adherence loss under 2 points; PSNR of 30 dB or more.",
    "✓  Short.",
    "✓  Verified on a machine with openvino 2026.4.1, in a fresh environment: the pictures are equal.",
)


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_every_row_is_as_high_as_its_words_at_any_width(qtbot: QtBot, scale: float) -> None:
    application()
    theme = Theme("dark", scale)
    theme.apply()
    shown = WrappedList()
    shown.addItems(list(SENTENCES))
    qtbot.addWidget(shown)
    shown.show()
    padding = 12
    for width in range(300, 520, 7):
        shown.resize(width, 600)
        qtbot.wait(1)
        for row in range(shown.count()):
            place = shown.visualItemRect(shown.item(row))
            room = QRect(0, 0, place.width() - padding, 1 << 16)
            needed = shown.fontMetrics().boundingRect(room, int(Qt.TextFlag.TextWordWrap), SENTENCES[row])
            assert place.height() >= needed.height() + 6, (width, SENTENCES[row])
