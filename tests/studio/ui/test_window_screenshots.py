"""Every step, dark and light, from a recorded run; kept in `docs/screenshots` when asked.

PARETO_SCREENSHOTS=docs/screenshots pytest tests/studio/ui/test_window_screenshots.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from studio.ui.actions import STEPS
from studio.ui.window import Window
from tests.studio.ui.window_recording import cascade_result, open_run, restored, save_png, scene, write_run

KEEP = os.environ.get("PARETO_SCREENSHOTS")
RECORDING = Path(__file__).resolve().parents[2] / "data" / "recorded-run"


@pytest.fixture(scope="module")
def shown_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run where one was kept, else one that is made up here."""
    base = tmp_path_factory.mktemp("shown")
    return restored(base, RECORDING) if (RECORDING / "events.jsonl").is_file() else write_run(base)


def fill(window: Window, folder: Path) -> None:
    open_run(window, folder)
    window.desk.card = window.desk.run.state.model
    window.desk.card_changed.emit()
    for step in STEPS:
        window.page(step)
    winner = window.desk.run.state.winner or ""
    window.desk.select(winner)
    window.desk.compare("c000", window.desk.run.state.winner or window.desk.run.state.front[0])
    cascade = window.page("cascade")
    cascade.show_result(cascade_result(folder, window.desk.run.state.front[0], "c000"))  # type: ignore[attr-defined]
    save_png(folder / "package" / "golden" / "studio.png", scene(2, 0.1))
    save_png(folder / "package" / "golden" / "package.png", scene(2, 0.104))
    export = window.page("export")
    export.show_exported(  # type: ignore[attr-defined]
        {
            "package": "my-package",
            "zip": "my-package.zip",
            "id": "7be1c19c0d4a55f2",
            "bytes": 41_000_000,
            "checks": [
                {"name": name, "ok": True, "text": text}
                for name, text in (
                    ("judged", "It passed every stage."),
                    ("exportable", "Captured components and a host loop say all that it does."),
                    ("files", "Every file is as it was written."),
                    ("fresh", "It made its picture in a fresh environment."),
                    ("picture", "Its picture is the Studio's: PSNR 51 dB, largest difference 3 of 255."),
                )
            ],
            "proof": {
                "own": "package/golden/studio.png",
                "package": "package/golden/package.png",
                "prompt": "a green tree on a hill at sunset",
                "psnr": 51.2,
                "max_abs": 3,
                "note": "Fresh environment, made by uv.",
            },
        }
    )


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
        shot = window.grab().toImage()
        assert shot.width() >= 1280
        colours = {shot.pixel(x, y) for x in range(0, shot.width(), 16) for y in range(0, shot.height(), 16)}
        assert len(colours) > 12, f"{step} looks empty"
        assert shot.save(str(out / f"{step}-{mode}.png"), quality=1)
