"""Nothing in the smallest window needs to be scrolled sideways, whatever is on show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from studio.ui.actions import STEPS
from studio.ui.window import Window
from tests.studio.ui.test_window_screenshots import RECORDING, fill
from tests.studio.ui.window_recording import CARD, restored

LONG = "/home/somebody/projects/a folder of many words/models/of another name that is long"


@pytest.fixture(scope="module")
def shown_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return restored(tmp_path_factory.mktemp("shown"), RECORDING)


def test_no_step_scrolls_sideways_in_the_smallest_window(
    qtbot: QtBot, window: Window, shown_run: Path
) -> None:
    fill(window, shown_run)
    export: Any = window.page("export")
    exported = {"package": f"{LONG}/package", "id": "sha256:" + "0" * 64, "bytes": 1, "checks": []}
    export.show_exported(exported)
    # A model with a long name and place, and a licence of many words.
    window.desk.card = CARD.model_copy(
        update={
            "source": LONG,
            "name": "a-model-with-a-name of some length",
            "licence": "CreativeML Open RAIL++-M",
        }
    )
    window.desk.card_changed.emit()
    window.resize(960, 640)
    for step in STEPS:
        window.go(step)
        qtbot.wait(30)
        assert window.width() == 960
        assert window._places[step].horizontalScrollBar().maximum() == 0, step
    received = Path(LONG) / "received.pareto"
    window.open_package(received)
    export.panel.show_checked(
        {"ok": True, "id": "sha256:" + "0" * 64, "command": f"python {LONG}/run.py",
         "info": {"model": "tiny", "source": LONG, "engine": "OpenVINO", "device": "cpu"},
         "native": [f"shared_assets/sha256-{'0' * 64}/model.plan"], "signature": None,
         "variants": [{"name": "mlx-mlx-fp16", "obstacle": "MLX's GPU is an Apple chip's"}],
         "checks": [{"name": "integrity", "ok": True, "text": "All files are as they were."}]}
    )  # fmt: skip
    qtbot.wait(30)
    assert window._places["export"].horizontalScrollBar().maximum() == 0
    assert export.card.isVisible()
