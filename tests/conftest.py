"""Which tests run where: those of a GPU where one is, those that measure with the machine to themselves."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from engines import drivers

NO_GPU = " and not gpu"
ALONE = {
    "test_bench_run",
    "test_cheats",
    "test_compare_sets",
    "test_hostile",
    "test_judge",
    "test_judge_clips",
    "test_llm_run",
    "test_llm_worker",
    "test_loop_real",
    "test_measure",
    "test_plan_simulator",
    "test_runs",
    "test_sandbox",
    "test_server_simulated",
    "test_serving_simulated",
    "test_walls",
    "test_window_speed",
    "test_worker",
}
"""Files whose tests judge, time or limit processes: beside other tests they would measure those."""

if "PYTEST_XDIST_WORKER" in os.environ:
    # As many processes as cores: more threads would wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure(config: pytest.Config) -> None:
    """Take the mark `gpu` out of the usual selection where an NVIDIA driver and torch's CUDA build are."""
    if NO_GPU in config.option.markexpr and not drivers.torch_on("cuda"):
        config.option.markexpr = config.option.markexpr.replace(NO_GPU, "")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what has the machine alone, before the selection by marks."""
    for item in items:
        if item.path.stem in ALONE:
            item.add_marker("alone")


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
