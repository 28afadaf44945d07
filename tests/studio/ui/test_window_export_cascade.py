"""The trained pair leaves the window as a package, at the threshold that is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from studio.record.protocol import decode_request
from studio.ui.window import Window
from tests.studio.ui.window_recording import cascade_result, open_run


def test_export_asks_for_the_shown_pair_at_the_shown_threshold_and_says_where_it_is(
    qtbot: QtBot, window: Window, recorded_run: Path
) -> None:
    open_run(window, recorded_run)
    window.go("cascade")
    page: Any = window.page("cascade")
    assert not page.threshold.export.isEnabled()
    light = window.desk.run.state.front[0]
    page.show_result(cascade_result(recorded_run, light, "c000"))
    page.threshold.slider.setValue(3)
    threshold = page.threshold.operation.threshold
    qtbot.mouseClick(page.threshold.export, Qt.MouseButton.LeftButton)
    assert not page.threshold.export.isEnabled()
    request = decode_request(window.worker._waiting[-1])
    assert request.command == "export_cascade"
    assert request.arguments == {
        "run": window.desk.run.id,
        "light": light,
        "heavy": "c000",
        "threshold": threshold,
    }
    job = list(window.worker._jobs.values())[-1]
    job.done.emit({"package": "there", "serve": "pareto-studio serve there"})
    job.ended.emit()
    assert page.threshold.export.isEnabled()
    assert "there" in page.message.text
    page.message.buttons[0].click()
    assert QGuiApplication.clipboard().text() == "pareto-studio serve there"
