"""A closed menu says that its text goes on."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from studio.ui.app import application
from studio.ui.widgets.choice import Choice


def test_a_long_choice_ends_in_an_ellipsis_and_is_whole_in_its_tool_tip(qtbot: QtBot) -> None:
    application()
    shown = Choice()
    qtbot.addWidget(shown)
    long = "c026  student 5 + OpenVINO int8 + fused QKV + prompt cache"
    shown.addItems(["c000  baseline", long])
    assert shown.shown_text(400) == "c000  baseline"
    shown.setCurrentIndex(1)
    assert shown.shown_text(120).endswith("…")
    assert shown.shown_text(2000) == long
    assert shown.toolTip() == long
