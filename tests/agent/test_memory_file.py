"""What is kept across runs: recalled per processor and architecture; a bad file never stops a run."""

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.candidate import Candidate, Interval, Proposal, Step, Verdict
from agent.evolution.front import Judged
from agent.memory import Memory, Place, place_of
from engines.models.card import describe
from engines.models.load import open_model

HERE = Place("cpu", "Processor A", "sd", "UNet2DConditionModel, 860 M parameters")
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
    Memory(tmp_path / "memory.sqlite").learn(HERE, "abc", "adherence", [judged(5.0)])
    memory = Memory(tmp_path / "memory.sqlite")
    (found,) = memory.recall(HERE)
    assert found.recipe == RECIPE
    assert (found.speedup, found.loss, found.psnr, found.metric) == (5.0, 0.01, None, "adherence")
    assert memory.recall(replace(HERE, device="cuda")) == memory.recall(replace(HERE, family="dit")) == []


def test_a_later_verdict_replaces_the_earlier_one_and_the_fastest_comes_first(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory.sqlite")
    memory.learn(HERE, "abc", "adherence", [judged(5.0)])
    memory.learn(HERE, "abc", "adherence", [judged(4.0), judged(9.0, recipe=RECIPE[:1])])
    assert [one.speedup for one in memory.recall(HERE)] == [9.0, 4.0]


def test_the_baseline_is_not_remembered(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory.sqlite")
    memory.learn(HERE, "abc", "adherence", [judged(1.0, recipe=())])
    assert memory.recall(HERE) == []


def test_a_damaged_file_is_set_aside_and_a_new_one_begun(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    path.write_bytes(b"this is no database" * 100)
    memory = Memory(path)
    memory.learn(HERE, "abc", "adherence", [judged(5.0)])
    assert len(memory.recall(HERE)) == 1
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
    memory.learn(HERE, "abc", "adherence", [judged(5.0)])
    assert memory.recall(HERE) == []
    assert "goes on without it" in memory.notes[0]


def test_what_was_found_elsewhere_is_offered_behind_what_was_found_here_and_says_so(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory.sqlite")
    memory.learn(replace(HERE, processor="Processor B"), "abc", "adherence", [judged(9.0)])
    memory.learn(replace(HERE, architecture="UNet, 2 M"), "abd", "adherence", [judged(7.0)])
    memory.learn(HERE, "abc", "adherence", [judged(5.0)])
    assert [(one.speedup, one.elsewhere) for one in memory.recall(HERE)] == [
        (5.0, ""),
        (7.0, "from another architecture: UNet, 2 M"),
        (9.0, "from another processor: Processor B"),
    ]


def test_what_failed_is_recalled_with_its_stage_and_reason_however_much_passed(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory.sqlite")
    many = [judged(float(at), recipe=(Step("student", {"steps": at}),)) for at in range(1, 6)]
    memory.learn(HERE, "abc", "adherence", [*many, judged(1.0, state="failed")])
    *passed, last = memory.recall(HERE, limit=3, failed=2)
    assert [one.speedup for one in passed] == [5.0, 4.0, 3.0]
    assert (last.state, last.stage, last.reason) == ("failed", "gate", "because")


FIRST = """
create table verdicts (
    device text not null, family text not null, model text not null, recipe text not null,
    metric text not null, state text not null, speedup real, loss real, psnr real,
    reason text not null, learned real not null,
    primary key (device, family, model, recipe, metric)
);
insert into verdicts values ('cpu', 'sd', 'abc', '[["student", {"steps": 4}]]', 'adherence', 'passed', 4.0,
    0.01, 30.0, '', 1.0);
pragma user_version = 1;
"""


def test_a_file_of_the_first_version_is_still_read_as_from_a_processor_that_was_not_noted(
    tmp_path: Path,
) -> None:
    path = tmp_path / "memory.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(FIRST)
    connection.close()
    memory = Memory(path)
    (found,) = memory.recall(HERE)
    assert (found.speedup, found.psnr) == (4.0, 30.0)
    assert found.elsewhere == "from another processor: not noted"
    memory.learn(HERE, "abc", "adherence", [judged(5.0)])
    assert [one.speedup for one in Memory(path).recall(HERE)] == [5.0, 4.0]
    assert memory.notes == []


def test_a_place_is_forgotten_and_no_other(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory.sqlite")
    other = replace(HERE, processor="Processor B")
    memory.learn(HERE, "abc", "adherence", [judged(5.0), judged(1.0, "failed", RECIPE[:1])])
    memory.learn(other, "abc", "adherence", [judged(9.0)])
    held = {one.place: (one.passed, one.failed, one.speedup) for one in memory.holdings()}
    assert held == {HERE: (1, 1, 5.0), other: (1, 0, 9.0)}
    assert memory.forget(HERE) == 2
    assert [one.place for one in memory.holdings()] == [other]


def test_a_model_and_a_device_say_where_what_they_teach_holds() -> None:
    place = place_of(describe(open_model("tiny-scenes")), "cpu")
    assert (place.device, place.family) == ("cpu", "stable-diffusion")
    assert place.processor
    assert place.architecture.startswith("UNet2DConditionModel, ")
    assert place.architecture.endswith(" M parameters")
