"""What is kept across runs: recalled per device and kind of model; a bad file never stops a run."""

import sqlite3
from pathlib import Path
from typing import Any

from agent.candidate import Candidate, Interval, Proposal, Step, Verdict
from agent.evolution.front import Judged
from agent.memory import Memory

RECIPE = (Step("student", {"steps": 4}), Step("engine", {"backend": "openvino"}))


def judged(speedup: float, state: Any = "passed", recipe: Any = RECIPE) -> Judged:
    verdict = Verdict(
        state,
        "gate",
        speedup=Interval(speedup, speedup, speedup),
        loss=Interval(0.01, 0.0, 0.02),
        reason="because",
    )
    return Judged(Candidate("c001", 1, Proposal(recipe, "", "seed"), ""), verdict)


def test_verdicts_are_recalled_for_their_device_and_family_only(tmp_path: Path) -> None:
    Memory(tmp_path / "memory.sqlite").learn("cpu", "sd", "abc", "adherence", [judged(5.0)])
    memory = Memory(tmp_path / "memory.sqlite")
    (found,) = memory.recall("cpu", "sd")
    assert found.recipe == RECIPE
    assert (found.speedup, found.loss, found.psnr, found.metric) == (5.0, 0.01, None, "adherence")
    assert memory.recall("cuda", "sd") == memory.recall("cpu", "dit") == []


def test_a_later_verdict_replaces_the_earlier_one_and_the_fastest_comes_first(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory.sqlite")
    memory.learn("cpu", "sd", "abc", "adherence", [judged(5.0)])
    memory.learn("cpu", "sd", "abc", "adherence", [judged(4.0), judged(9.0, recipe=RECIPE[:1])])
    assert [one.speedup for one in memory.recall("cpu", "sd")] == [9.0, 4.0]


def test_the_baseline_is_not_remembered(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory.sqlite")
    memory.learn("cpu", "sd", "abc", "adherence", [judged(1.0, recipe=())])
    assert memory.recall("cpu", "sd") == []


def test_a_damaged_file_is_set_aside_and_a_new_one_begun(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    path.write_bytes(b"this is no database" * 100)
    memory = Memory(path)
    memory.learn("cpu", "sd", "abc", "adherence", [judged(5.0)])
    assert len(memory.recall("cpu", "sd")) == 1
    assert len(list(tmp_path.glob("memory.sqlite.damaged-*"))) == 1
    assert "set aside" in memory.notes[0]


def test_a_file_of_a_newer_version_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("pragma user_version = 99")
    connection.commit()
    connection.close()
    assert "newer version" in Memory(path).notes[0]


def test_a_folder_that_cannot_be_written_costs_the_memory_and_not_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    memory = Memory(tmp_path / "file" / "memory.sqlite")
    memory.learn("cpu", "sd", "abc", "adherence", [judged(5.0)])
    assert memory.recall("cpu", "sd") == []
    assert "goes on without it" in memory.notes[0]
