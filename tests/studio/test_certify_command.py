"""`pareto-studio certify`: one claim about one candidate, on as many fresh prompts as asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.cli import main
from studio.record.journal import Journal
from studio.record.state import RunState
from studio.work import ready
from studio.work.job import Job
from studio.work.runs import start
from tests.studio import scripted_worker


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ready, "prepare", scripted_worker.prepare)
    monkeypatch.setattr(scripted_worker, "SECONDS", 0.0)
    done = start(Job(tmp_path), model="scripted", generations=1, population=2, certify=False)
    return Path(done["folder"])


def certify(folder: Path, *arguments: str) -> int:
    home = folder.parents[1]
    return main(["certify", *arguments, "--home", str(home)])


def test_a_claim_is_checked_on_the_prompts_asked_for_and_recorded(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = "adherence loss under 1 point"
    assert certify(folder, "last", "winner", "--claim", words, "--prompts", "1500", "--json") == 0
    # The scripted judge's library prints as well.
    certified = json.loads(capfd.readouterr().out.splitlines()[-1])["certified"]
    assert (certified["claim"], certified["prompts"], certified["held"]) == (words, 1500, True)
    assert certified["isolation"] == "limited"
    state = RunState.replay(Journal.read(folder))
    assert [(one.id, one.claim, one.prompts) for one in state.certified] == [(state.winner, words, 1500)]


def test_people_read_the_runs_own_claim_with_its_bounds(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert certify(folder, folder.name, "c001") == 0
    said = capfd.readouterr().out
    assert "holds" in said
    assert "adherence loss under 2 points" in said
    assert "0.00 to 1.90 points, 200 prompts" in said
    assert "walls: limited" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["c001", "--claim", "it is pretty"], "cannot be certified; write for example"),
        (["c000"], "is the baseline or did not pass"),
        (["c009"], "has no candidate c009"),
    ],
)
def test_what_cannot_be_certified_is_one_sentence(
    folder: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    before = RunState.replay(Journal.read(folder)).seq
    assert certify(folder, "last", *arguments) == 1
    said = capfd.readouterr().err
    assert words in " ".join(said.split())
    assert "Traceback" not in said
    assert RunState.replay(Journal.read(folder)).seq == before
