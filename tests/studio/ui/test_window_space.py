"""The dialog that shows what the cache holds, and empties it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.ui.app import application
from studio.ui.bridge import Worker
from studio.ui.pages.space import SpaceDialog
from studio.ui.sitting import Sitting
from studio.ui.window import Window


def test_the_cache_is_shown_and_emptied_by_the_real_worker(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    (cache / "engines" / "a").mkdir(parents=True)
    (cache / "engines" / "a" / "model.bin").write_bytes(bytes(1 << 20))
    (cache / "captures").mkdir()
    (cache / "captures" / "c.pt2").write_bytes(bytes(1 << 10))
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(cache))
    application()
    window = Window(Sitting(tmp_path / "home"), Worker(tmp_path / "home"))
    qtbot.addWidget(window)
    window.worker.start()
    window.show()
    window.commands["file.space"].trigger()
    dialog = next(one for one in window.findChildren(SpaceDialog))
    qtbot.waitUntil(lambda: bool(dialog.buttons), timeout=60_000)
    assert dialog.buttons["engines"].isEnabled()
    assert not dialog.buttons["models"].isEnabled()
    monkeypatch.setattr(dialog, "_ask", dialog.empty)
    dialog.show_space({"folder": str(cache), "free": 1, "kinds": dialog.kinds})
    qtbot.mouseClick(dialog.buttons["engines"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not (cache / "engines").exists(), timeout=60_000)
    qtbot.waitUntil(lambda: "engines" in dialog.buttons and not dialog.buttons["engines"].isEnabled())
    assert (cache / "captures" / "c.pt2").is_file()
    window.worker.close()
