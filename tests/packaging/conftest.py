"""The dialog's tests run under Qt's offscreen platform, like the window's."""

import os

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


@pytest.fixture(scope="module", autouse=True)
def _garbage(garbage_in_this_thread: None) -> None:
    """The dialog's own, and uv's output is read in a thread."""
