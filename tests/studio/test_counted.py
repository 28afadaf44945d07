"""What was counted, what judging cost, how many pictures the gate has, behind which walls: kept and shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from agent.bench.verdicts import from_json, to_json
from agent.candidate import Census, Counted, Interval, Verdict
from engines.errors import WorkloadError
from studio.cli import main
from studio.cli.follow import line_of
from studio.record import events
from studio.record import verdict as record
from studio.record.events import event
from studio.record.journal import Journal
from studio.record.settings import Settings
from studio.record.state import RunState
from studio.work import ready
from studio.work.convert import verdict_event, verdict_value
from studio.work.job import Job
from studio.work.report import claims, render
from studio.work.runs import start
from tests.studio import scripted_worker
from tests.studio.test_report import write_run

CENSUS = Census(
    "trace",
    (
        Counted("text_encoder", "", "torch fp32", 1, 2),
        Counted("denoiser", "16x16", "torch fp32", 40, 80),
        Counted("decoder", "16x16", "torch fp32", 1, 1),
    ),
    "torch bf16",
    5.38e9,
    {16: 0.8, 64: 0.2},
    {"float32": 475},
)
WORDS = (
    "denoiser: 40 calls at 16x16, torch fp32; decoder: 1 call at 16x16, torch fp32; declared torch bf16; "
    "torch: 5.38 GFLOP (float32 in 475 operations)"
)
FULL = Verdict(
    "passed",
    "gate",
    latency=Interval(0.1, 0.1, 0.1),
    loss=Interval(0.0, 0.0, 0.0),
    census=CENSUS,
    spent={"static": 0.01, "build": 0.2, "smoke": 1.0, "gate": 8.0, "honesty": 3.0},
    seconds=12.2,
)
EARLY = Verdict(
    "failed",
    "smoke",
    "Stopped early, after 4 pictures: its loss is 0.95.",
    "Losses of 4 pictures: 0.950, 0.900, 0.990, 0.970.",
    loss=Interval(0.95, 0.9, 1.0),
    stopped=True,
    spent={"static": 0.01, "smoke": 1.4},
    seconds=1.41,
)


@pytest.mark.parametrize("verdict", [FULL, EARLY])
def test_counts_costs_and_early_ends_survive_the_journal_and_the_bench(verdict: Verdict) -> None:
    told = verdict_event(verdict)
    assert verdict_value(record.Verdict.model_validate_json(told.model_dump_json())) == verdict
    assert from_json(json.loads(json.dumps(to_json(verdict)))) == verdict


def test_a_verdict_from_before_says_nothing_of_counts() -> None:
    old = verdict_event(Verdict("passed", "gate")).model_dump(mode="json")
    for name in ("census", "stopped", "spent", "sets_note"):
        del old[name]
    assert record.Verdict.model_validate(old) == verdict_event(Verdict("passed", "gate"))


def judged(home: Path) -> tuple[Path, RunState]:
    folder = write_run(home)
    with Journal.open(folder) as journal:
        journal.append(events.CandidateJudged(id="c001", verdict=verdict_event(FULL)))
        journal.append(events.CandidateJudged(id="c004", verdict=verdict_event(EARLY)))
        journal.append(
            events.Certified(
                id="c003",
                claim="PSNR of 20 dB or more",
                held=True,
                prompts=64,
                loss=None,
                isolation="limited",
            )
        )
    return folder, RunState.replay(Journal.read(folder))


def test_the_report_shows_what_was_counted_and_who_was_given_up(tmp_path: Path) -> None:
    folder, state = judged(tmp_path)
    page = render(folder, state)
    assert WORDS in page
    assert "stopped early at smoke" in page
    assert any("its script ran limited: limits, but no wall" in claim.detail for claim in claims(state))


def test_a_certificate_says_in_the_terminal_behind_which_walls_its_script_ran(tmp_path: Path) -> None:
    _, state = judged(tmp_path)
    assert state.certified[-1].walls == "limited: limits, but no wall before files and network"
    assert "limited" in line_of(event(state.certified[-1]), state)


def test_what_the_stages_cost_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    judged(tmp_path)
    assert main(["stages", "r1", "--home", str(tmp_path), "--json"]) == 0
    found = json.loads(capfd.readouterr().out.splitlines()[-1])
    rows = {row["stage"]: row for row in found["stages"]}
    assert (rows["smoke"]["reached"], rows["smoke"]["ended"], rows["smoke"]["stopped"]) == (2, 1, 1)
    assert (rows["gate"]["reached"], rows["gate"]["median"], rows["honesty"]["total"]) == (1, 8.0, 3.0)
    assert (found["full"], found["early"], found["candidates"]) == (12.2, 1.41, 2)
    assert main(["stages", "r1", "--home", str(tmp_path)]) == 0
    said = capfd.readouterr().out
    assert "Stopped early" in said
    assert "measured in full took 12.20 s, given up early 1.41 s" in said


def test_the_gate_s_size_is_journaled_and_stays_within_its_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in (8, 33):
        with pytest.raises(WorkloadError, match="16 to 32 pictures"):
            ready.prepare("tiny-scenes", "cpu", {}, None, 0, tmp_path, wrong)
        with pytest.raises(ValidationError):
            Settings(gate=wrong)
    with pytest.raises(SystemExit):
        main(["optimize", "tiny-scenes", "--gate", "8"])
    monkeypatch.setattr(ready, "prepare", scripted_worker.prepare)
    monkeypatch.setattr(scripted_worker, "SECONDS", 0.0)
    done = start(Job(tmp_path), model="scripted", generations=1, population=1, certify=False, gate=24)
    begun = RunState.replay(Journal.read(Path(done["folder"]))).started
    assert begun is not None
    assert begun.gate == 24
