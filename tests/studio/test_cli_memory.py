"""`pareto-studio memory` shows what earlier runs learned, and forgets it place by place."""

from __future__ import annotations

import json
from pathlib import Path

from agent.candidate import Candidate, Interval, Proposal, Step, Verdict
from agent.evolution.front import Judged
from agent.memory import Memory, Place
from tests.studio.test_cli import refused, run


def test_memory_is_shown_and_forgotten_by_name(tmp_path: Path) -> None:
    assert "No run has learned anything yet" in run("memory", home=tmp_path).stdout
    verdict = Verdict("passed", "gate", speedup=Interval(5.0, 4.9, 5.1))
    proposal = Proposal((Step("student", {"steps": 4}),), "", "seed")
    found = [Judged(Candidate("c001", 1, proposal, ""), verdict)]
    kept = Memory(tmp_path / "memory.sqlite")
    for processor in ("Processor A", "Processor B"):
        kept.learn(Place("cpu", processor, "sd", "a U-Net"), "abc", "adherence", found)
    shown = json.loads(run("memory", "--json", home=tmp_path).stdout)["places"]
    assert sorted(one["processor"] for one in shown) == ["Processor A", "Processor B"]
    assert all((one["passed"], one["failed"], one["speedup"]) == (1, 0, 5.0) for one in shown)
    said = refused(run("memory", "--forget", "nothing", home=tmp_path))
    assert "Nothing is remembered as nothing; there is: " in said
    first = next(one["id"] for one in shown if one["processor"] == "Processor A")
    left = json.loads(run("memory", "--forget", first, "--json", home=tmp_path).stdout)
    assert left["forgotten"] == 1
    assert [one["processor"] for one in left["places"]] == ["Processor B"]
    assert "1 verdicts were forgotten" in run("memory", "--forget", "all", home=tmp_path).stdout
