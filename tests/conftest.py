"""Tests that need a GPU select themselves where one is; windows that are garbage go in their own thread."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from engines import drivers

USUAL = "not slow and not gpu"


def pytest_configure(config: pytest.Config) -> None:
    """Take the mark `gpu` out of the usual selection where an NVIDIA driver and torch's CUDA build are."""
    if config.option.markexpr == USUAL and not drivers.torch_on("cuda"):
        config.option.markexpr = "not slow"


@pytest.fixture(scope="module")
def garbage_in_this_thread() -> Iterator[None]:
    """Windows that are garbage go in the thread that made them.

    Python collects in whichever thread an allocation crosses its threshold, those that read pictures
    or a program's output too; a timer or a widget that is destroyed there takes the process down.
    """
    gc.disable()
    yield
    gc.collect()
    gc.enable()
