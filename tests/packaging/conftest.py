"""The dialog's tests run under Qt's offscreen platform, like the window's; no test removes a real cache."""

import os
from pathlib import Path

import pytest

from studio.setup import environment

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


@pytest.fixture(scope="module", autouse=True)
def _garbage(garbage_in_this_thread: None) -> None:
    """The dialog's own, and uv's output is read in a thread."""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removing everything takes the user's cache with it: here that is whose machine the tests run on."""
    monkeypatch.setattr(environment, "cache", lambda: tmp_path / "user-cache")
