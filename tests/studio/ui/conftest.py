"""The window on a recorded run, under a virtual screen, without a worker process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import pytest
from pytestqt.qtbot import QtBot

from studio.ui.app import application
from studio.ui.bridge import Worker
from studio.ui.sitting import Sitting
from studio.ui.window import Window
from tests.studio.ui.window_recording import write_run


@pytest.fixture(scope="module", autouse=True)
def _garbage(garbage_in_this_thread: None) -> None:
    """Windows', and pictures are read in a thread."""


@pytest.fixture(scope="session")
def recorded_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written once; tests only read it."""
    return write_run(tmp_path_factory.mktemp("recorded"))


@pytest.fixture
def quiet_worker(tmp_path: Path) -> Iterator[Worker]:
    """A worker that is never started: requests wait."""
    worker = Worker(tmp_path / "home", ["false"])
    worker.start = lambda: None  # type: ignore[method-assign]
    yield worker
    worker.close()


@pytest.fixture
def window(qtbot: QtBot, quiet_worker: Worker, tmp_path: Path) -> Iterator[Window]:
    """An empty window of 1280 x 800."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    application()
    sitting = Sitting(home)
    sitting.change(theme="dark")
    made = Window(sitting, quiet_worker)
    made.resize(1280, 800)
    made.show()
    # A window asks before it closes during a run; here nobody could answer.
    qtbot.addWidget(made, before_close_func=lambda _: setattr(made.desk.run, "live", False))
    qtbot.waitExposed(made)
    yield made
    made.desk.run.live = False
    made.close()
