"""One click, a real worker, to the end: evolve, compare, cascade, export, and a picture from a clean process.

    PARETO_WHOLE_JOB=4x7 PARETO_SCREENSHOTS=out pytest -m slow tests/studio/ui/test_window_whole_job.py

By default one small generation; `PARETO_WHOLE_JOB` says generations x candidates.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from studio.ui.app import application
from studio.ui.bridge import Worker
from studio.ui.sitting import Sitting
from studio.ui.window import Window
from tests.studio.ui.test_window_speed import Heartbeat

pytestmark = pytest.mark.slow

GENERATIONS, POPULATION = (int(part) for part in os.environ.get("PARETO_WHOLE_JOB", "1x5").split("x"))
KEEP = os.environ.get("PARETO_SCREENSHOTS")
PROMPT = "a red house on the left, grass, day, clear, ink drawing"
LIMIT = 45 * 60_000
"""Milliseconds; only a job that hangs takes as long."""


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path) -> Iterator[Window]:
    application()
    sitting = Sitting(tmp_path)
    sitting.change(theme="dark", generations=GENERATIONS, population=POPULATION)
    made = Window(sitting, Worker(tmp_path))
    made.resize(1280, 800)
    qtbot.addWidget(made, before_close_func=lambda _: setattr(made.desk.run, "live", False))
    made.show_and_begin()
    qtbot.waitExposed(made)
    qtbot.waitUntil(lambda: made.desk.card is not None, timeout=120_000)
    yield made
    made.desk.run.live = False
    made.close()


def hero(window: Window) -> QPushButton:
    window.go("model")
    return next(
        one for one in window.page("model").findChildren(QPushButton) if one.property("role") == "hero"
    )


def shot(window: Window, name: str) -> None:
    if KEEP:
        Path(KEEP).mkdir(parents=True, exist_ok=True)
        window.grab().save(str(Path(KEEP) / f"whole-job-{name}.png"))


def test_one_click_goes_through_every_step_for_real(qtbot: QtBot, window: Window, tmp_path: Path) -> None:
    heart = Heartbeat()
    began = time.monotonic()
    shot(window, "0-model")
    qtbot.mouseClick(hero(window), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.desk.run.phase == "running", timeout=LIMIT)
    heart.start()  # the step itself is built before its run goes
    qtbot.waitUntil(lambda: len(window.desk.run.state.candidates) > 1, timeout=LIMIT)
    assert window.step == "evolve"
    qtbot.waitUntil(lambda: len(window.desk.run.state.front) > 1, timeout=LIMIT)
    heart.stop()  # a picture of the window takes longer than anything in it
    shot(window, "1-evolving")
    heart.start()
    qtbot.waitUntil(lambda: not window.journey.active, timeout=LIMIT)
    heart.stop()
    qtbot.wait(500)
    shot(window, "2-exported")
    print(f"whole job: {time.monotonic() - began:.0f} s, {heart.why()}")
    assert [leg.state for leg in window.journey.legs] == ["done"] * 4
    assert heart.worst < 0.1, heart.why()

    run = window.desk.run.state
    assert run.finished is not None
    assert run.winner
    judged = [one for one in run.candidates.values() if one.verdict is not None and one.id != "c000"]
    assert len(judged) == GENERATIONS * POPULATION

    package = Path(window.desk.exported)
    picture = tmp_path / "picture.png"
    made = subprocess.run(
        [sys.executable, "-I", package / "run.py", "--prompt", PROMPT, "--seed", "3", "--out", picture],
        capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False, env={"PATH": os.defpath},
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert np.asarray(Image.open(picture)).std() > 5

    compare(qtbot, window)
    cascade(qtbot, window)


def compare(qtbot: QtBot, window: Window) -> None:
    """Two candidates by eye: every mode draws, and fresh pictures can be asked for."""
    winner = window.desk.run.state.winner or ""
    window.desk.compare("c000", winner)
    window.go("compare")
    page: Any = window.page("compare")
    qtbot.waitUntil(lambda: page.canvas.numbers() is not None, timeout=LIMIT)
    page._ask.click()
    qtbot.waitUntil(lambda: "fresh prompts" in page._source.text(), timeout=LIMIT)
    for mode in ("side", "wipe", "swap", "blink", "difference", "heat"):
        page.set_mode(mode)
        qtbot.wait(50)
    page.set_mode("side")
    shot(window, "3-compare")


def cascade(qtbot: QtBot, window: Window) -> None:
    """A discriminator is trained on the pair that the page offers; the threshold moves what it says."""
    window.go("cascade")
    page: Any = window.page("cascade")
    heavy = page.heavy.findData("c000")
    if heavy >= 0 and page.heavy.currentData() == page.light.currentData():
        page.heavy.setCurrentIndex(heavy)
    page.train.click()
    qtbot.waitUntil(lambda: page.train.isEnabled(), timeout=LIMIT)
    if page.cascade is None:  # a pair from which nothing can be learned is said, not guessed at
        assert page.message.text
        return
    said = []
    at = page.threshold
    for value in (at.slider.minimum(), at.slider.maximum()):
        at.slider.setValue(value)
        qtbot.wait(50)
        said.append((at.share.value, at.seconds.value))
    assert said[0] != said[1]
    shot(window, "4-cascade")
