"""What holds for every test: a GPU's tests select themselves where one is, and nothing is left behind."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engines import drivers

USUAL = "not slow and not gpu"
SERVERS = ("resource_tracker", "compile_worker")
"""Processes that Python and torch keep for as long as their own lives."""

if "PYTEST_XDIST_WORKER" in os.environ:
    # As many processes as cores: more threads would wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure(config: pytest.Config) -> None:
    """Take the mark `gpu` out of the usual selection where an NVIDIA driver and torch's CUDA build are."""
    if config.option.markexpr == USUAL and not drivers.torch_on("cuda"):
        config.option.markexpr = "not slow"


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


def _processes() -> dict[int, str]:
    found = {}
    for process in psutil.Process().children(recursive=True):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if line and not any(name in line for name in SERVERS):  # a zombie has none
            found[process.pid] = line
    return found


@pytest.fixture(scope="module", autouse=True)
def _as_it_was() -> Iterator[None]:
    """A module's tests leave the environment and the folder as they were, and no process."""
    environment, folder, processes = _environment(), Path.cwd(), _processes()
    yield
    assert _environment() == environment
    assert Path.cwd() == folder
    until = time.monotonic() + 5
    while (left := _processes().items() - processes.items()) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == set()


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
