"""What a candidate holds on an NVIDIA card, asked of a library that answers as NVIDIA's does."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.sandbox import CandidateFailure, Limits, Nursery, Process, graphics
from engines.workload import Workload
from tests.agent.test_sandbox import GOOD, LIGHT

MIB = 2**20
Card = Callable[..., None]
"""Says how many MiB of the card are in use, and by process: `card(300, {pid: 200})`."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    made = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    source = Path(__file__).with_name("nvml.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(made), str(source)], check=True)
    return made


@pytest.fixture
def card(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    told = tmp_path / "card.txt"

    def say(in_use: int, held: dict[int, int] | None = None) -> None:
        lines = [f"{1000 * MIB} {in_use * MIB}"]
        lines += [f"{pid} {-1 if size < 0 else size * MIB}" for pid, size in (held or {}).items()]
        fresh = told.with_suffix(".new")
        fresh.write_text("\n".join(lines))
        fresh.replace(told)  # it is read meanwhile

    say(100)
    monkeypatch.setenv("NVML_STAND_IN", str(told))
    monkeypatch.setattr(graphics, "_LIBRARY", str(library))
    graphics._library.cache_clear()
    yield say
    graphics._library.cache_clear()


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery(Limits(gpu_memory=900), method="spawn", preloaded=LIGHT) as made:
        yield made


@pytest.fixture
def process(card: Card, nursery: Nursery) -> Iterator[Process]:
    with nursery.start() as made:
        script = made.folder / "script.py"
        script.write_text(GOOD)
        made.load(script, "tiny-scenes", "cuda", Workload())
        yield made


def draw(process: Process) -> None:
    process.generate(["a red ball"], [1])


def test_the_driver_says_what_a_card_has_and_who_holds_it(card: Card) -> None:
    card(300, {11: 200, 12: 40, 13: -1})
    assert graphics.limit() == 900
    assert graphics.in_use() == 300
    assert graphics.used([11, 12, 13]) == 240
    assert graphics.used([14]) == 0


def test_the_peak_of_a_candidates_processes_is_kept_when_they_give_memory_back(
    card: Card, process: Process
) -> None:
    card(850, {process.pid: 500, 1: 250})
    draw(process)
    card(350, {process.pid: 10, 1: 250})
    draw(process)
    assert process.card_peak == 500


def test_where_the_driver_does_not_count_by_process_the_growth_since_loading_is_taken(
    card: Card, process: Process
) -> None:
    card(400, {process.pid: -1})
    draw(process)
    card(150)
    draw(process)
    assert process.card_peak == 300


def test_growth_ends_a_candidate_where_the_driver_does_not_count_by_process(
    card: Card, process: Process
) -> None:
    card(100 + 950)
    deadline = time.monotonic() + 60
    while process.alive and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(CandidateFailure, match="took more than 900 MiB on the GPU"):
        draw(process)


def test_the_baseline_does_not_answer_for_what_candidates_take(card: Card, process: Process) -> None:
    process.answers_for_growth = False
    card(100 + 950)
    draw(process)
    assert process.alive
    assert process.card_peak == 950


def test_a_candidate_that_takes_more_of_the_card_than_it_may_is_ended(card: Card, process: Process) -> None:
    card(980, {process.pid: 950})
    deadline = time.monotonic() + 60
    while process.alive and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(CandidateFailure, match="took more than 900 MiB on the GPU"):
        draw(process)
