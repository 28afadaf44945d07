"""Every step, dark and light, from a recorded run; kept in `docs/screenshots` when asked.

PARETO_SCREENSHOTS=docs/screenshots pytest tests/studio/ui/test_window_screenshots.py
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from studio.ui.actions import STEPS
from studio.ui.window import Window
from tests.studio.ui.window_recording import restored

KEEP = os.environ.get("PARETO_SCREENSHOTS")
RECORDING = Path(__file__).resolve().parents[2] / "data" / "recorded-run"


@pytest.fixture(scope="module")
def shown_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real run that was kept, its trained pair included."""
    return restored(tmp_path_factory.mktemp("shown"), RECORDING)


def fill(window: Window, folder: Path) -> None:
    """Everything that a sitting with this run would have on show, as the worker answered it then."""
    answers: dict[str, Any] = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    window.desk._on_devices(answers["devices"])
    assert window.desk.open_run(folder)
    window.desk.card = window.desk.run.state.model
    window.desk.card_changed.emit()
    for step in STEPS:
        window.page(step)
    winner = window.desk.run.state.winner or ""
    window.desk.select(winner)
    window.desk.compare("c000", winner)
    window.page("compare")._on_compared("c000", winner, {**answers["compare"], "folder": str(folder)})  # type: ignore[attr-defined]
    assert window.page("cascade").cascade is not None  # type: ignore[attr-defined]
    window.page("export").show_exported(answers["export"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", ["dark", "light"])
def test_each_step_is_drawn_in_both_themes(
    qtbot: QtBot, window: Window, shown_run: Path, tmp_path: Path, mode: str
) -> None:
    out = Path(KEEP) if KEEP else tmp_path / "shots"
    out.mkdir(parents=True, exist_ok=True)
    window.theme.set_mode("dark" if mode == "dark" else "light")
    fill(window, shown_run)
    for step in STEPS:
        window.go(step)
        qtbot.wait(250)
        window.worker._jobs.clear()  # what the pages asked for was given above
        window._show_frame()
        qtbot.wait(1)  # the layout follows the new words in the next turn of the event loop
        shot = window.grab().toImage()
        assert shot.width() >= 1280
        colours = {shot.pixel(x, y) for x in range(0, shot.width(), 16) for y in range(0, shot.height(), 16)}
        assert len(colours) > 12, f"{step} looks empty"
        assert shot.save(str(out / f"{step}-{mode}.png"), quality=1)
