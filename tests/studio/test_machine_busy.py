"""Other programs are noticed before they are measured as well."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.candidate import Candidate, Proposal, Verdict
from engines.measure.neighbours import Neighbours
from studio.record import events
from studio.record.data import Data
from studio.work import machine
from studio.work.control import Control
from studio.work.recorder import Recorder


@pytest.fixture
def loops() -> Iterator[None]:
    """A process for each core that does nothing but compute."""
    code = "while True: pass"
    made = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(os.cpu_count() or 1)]
    yield
    for one in made:
        one.kill()
        one.wait()


@pytest.mark.usefixtures("loops")
def test_a_machine_that_works_for_others_is_said_to() -> None:
    assert max(machine.others() for _ in range(5)) > 0.5
    assert "Other programs use" in machine.busy_sentence()


def test_a_quiet_machine_is_not_spoken_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "others", lambda: 0.1)
    assert machine.busy_sentence() == ""


@pytest.mark.usefixtures("loops")
def test_processes_of_our_own_are_no_neighbours() -> None:
    watched = Neighbours()
    time.sleep(0.3)
    assert watched.share() > 0.5
    assert watched.share(ours=1000.0) == 0.0


def test_a_candidate_that_was_timed_beside_others_says_so_and_the_run_warns_once(tmp_path: Path) -> None:
    told: list[Data] = []
    recorder = Recorder(tmp_path, told.append, Control())
    for number, share in enumerate((0.05, 0.6, 0.4)):
        candidate = Candidate(f"c00{number}", 1, Proposal((), "", "seed"), "")
        recorder.judged(candidate, Verdict("passed", "gate", others=share))
    said = [one.verdict.disturbed for one in told if isinstance(one, events.CandidateJudged)]
    assert said == [
        "",
        "Other programs used 60% of the processors while it was timed.",
        "Other programs used 40% of the processors while it was timed.",
    ]
    (warning,) = [one.text for one in told if isinstance(one, events.Notice)]
    assert warning.startswith("c001: Other programs used 60%")
