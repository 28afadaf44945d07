"""Without a language model too: sentences steer a run, and each candidate waits for the user's word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.errors import RunError
from studio.record.events import Event
from studio.record.journal import Journal
from studio.record.state import RunState
from studio.work import ready
from studio.work.job import Job
from studio.work.runs import resume, start
from tests.studio import scripted_worker


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "prepare", scripted_worker.prepare)
    monkeypatch.setattr(scripted_worker, "SECONDS", 0.0)


def begin(job: Job, **arguments: Any) -> dict[str, Any]:
    usual = {"model": "scripted", "generations": 2, "population": 3, "certify": False}
    return start(job, **{**usual, **arguments})


def read(home: Path) -> RunState:
    (folder,) = (home / "runs").iterdir()
    return RunState.replay(Journal.read(folder))


def techniques(state: RunState, since: int) -> list[set[str]]:
    return [
        {step.technique for step in one.proposal.recipe} for one in list(state.candidates.values())[since:]
    ]


def test_each_candidate_waits_and_a_sentence_changes_the_next_plan(tmp_path: Path) -> None:
    decided: list[str] = []

    def hear(item: Event) -> None:
        if item.type == "candidate.waiting":
            name = item.data["id"]
            decided.append(name)
            if name == "c002":
                job.control.steer("without fewer steps, and use the guidance cutoff")
            if name == "c004":
                job.control.steer("make it nicer")
            job.control.decide(name, run=name != "c001")

    job = Job(tmp_path, emit=hear)
    result = begin(job, approve=True)
    state = read(tmp_path)
    assert decided == [f"c{number:03}" for number in range(1, 7)]
    assert result["reason"] == "done"
    assert state.approve
    assert state.declined == ["c001"]
    assert state.candidates["c001"].verdict is None
    assert state.candidates["c002"].passed
    assert state.said[0].answer == (
        "Fewer steps will not be tried any more. "
        "Every new candidate that can have guidance cutoff will have it."
    )
    assert "did not understand that" in state.said[1].answer
    assert "int8" in state.said[1].answer
    for names in techniques(state, since=3):
        assert "fewer-steps" not in names
        assert "guidance-cutoff" in names


def test_a_wish_before_the_start_holds_from_the_first_candidate_on_and_after_going_on(tmp_path: Path) -> None:
    begin(Job(tmp_path), wishes=("without  engine",), generations=1)
    state = read(tmp_path)
    assert state.steered == ("without engine",)
    assert state.said[0].answer == "An engine will not be tried any more."
    resume(Job(tmp_path), run=state.run, generations=2, wishes=("no feature cache",), certify=False)
    state = read(tmp_path)
    assert len(state.candidates) == 7
    assert not any("engine" in names for names in techniques(state, since=1))
    assert not any("feature-cache" in names for names in techniques(state, since=4))


def test_a_wish_that_is_not_understood_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="“faster”: The built-in agent did not understand that"):
        begin(Job(tmp_path), wishes=("faster",))
    assert not (tmp_path / "runs").exists()


def test_what_was_declined_stays_so_when_the_run_goes_on(tmp_path: Path) -> None:
    def hear(item: Event) -> None:
        if item.type == "candidate.waiting":
            job.control.decide(item.data["id"], run=False)

    job = Job(tmp_path, emit=hear)
    begin(job, approve=True, generations=1)
    first = read(tmp_path)
    assert first.declined == ["c001", "c002", "c003"]
    again = Job(tmp_path, emit=lambda item: again.control.decide(item.data["id"], run=True)
                if item.type == "candidate.waiting" else None)  # fmt: skip
    resume(again, run=first.run, generations=2, certify=False)
    state = read(tmp_path)
    refused = {str(first.candidates[name].proposal.recipe) for name in first.declined}
    run = [one for one in state.candidates.values() if one.passed and one.id != "c000"]
    assert run
    assert not refused & {str(one.proposal.recipe) for one in run}
    assert len(state.candidates) == 1 + 3 + 6
