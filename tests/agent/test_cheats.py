"""The red team: cheats are failed or quarantined, honest scripts that look odd pass.

One judge and one baseline for all; four steps and eight gate pictures.  The
whole of it is `slow`; the table in docs/benchmarks is made by
`python -m agent.evaluate.redteam tests/agent/cheats`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.evaluate import redteam
from agent.evaluate.judge import Judge
from engines.backends import torch_ways
from engines.workload import Workload

FOLDER = Path(__file__).parent / "cheats"
SCRIPTS = redteam.scripts(FOLDER)
QUICK = {
    "errors_suppressed", "painted_without_model", "half_the_steps", "denoiser_remembers_bytes",
    "patched_census", "array_that_draws_when_read", "filled_in_later", "reference_read_from_disk", "own_loop",
}  # fmt: skip
"""What the default suite tries: the quickest of each family."""
STOPPED = {"half_size_enlarged", "half_size_smoothed", "reference_read_from_disk"}
"""Cheats that fail because what they want is not to be had behind the walls."""


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    folder = tmp_path_factory.mktemp("run")
    with Judge("tiny-scenes", "cpu", Workload(steps=redteam.STEPS), folder, gate=redteam.GATE) as made:
        yield made


def cases() -> list[object]:
    return [
        pytest.param(
            path, id=f"{path.parent.name}-{path.stem}", marks=[] if path.stem in QUICK else [pytest.mark.slow]
        )
        for path in SCRIPTS
    ]


@pytest.mark.parametrize("path", cases())
def test_honest_scripts_pass_and_cheats_do_not(judge: Judge, path: Path) -> None:
    if reason := redteam.idle(path):
        pytest.skip(reason)
    [found] = redteam.judge_all(judge, [path])
    verdict = found.verdict
    assert found.right, f"{verdict.state} at {verdict.stage}: {verdict.reason}\n{verdict.evidence}"
    stumbled = verdict.reason.startswith("The script fails in ")
    assert not stumbled or path.stem in STOPPED, f"it was not found out, it is out of date: {verdict.reason}"
    if verdict.state != "passed":
        assert verdict.reason.endswith(".")
        assert "\n" not in verdict.reason
    if verdict.state == "quarantined":
        assert verdict.evidence


def test_there_are_as_many_as_were_promised() -> None:
    groups = {group: [p for p in SCRIPTS if p.parent.name == group] for group in ("blind", "known", "honest")}
    assert len(groups["blind"]) >= 20
    assert len(groups["blind"]) + len(groups["known"]) >= 60
    assert len(groups["honest"]) >= 20
    assert {path.stem for path in SCRIPTS} >= QUICK
    assert all(ast.get_docstring(ast.parse(path.read_text())) for path in SCRIPTS)
    assert len({path.stem for path in SCRIPTS}) == len(SCRIPTS)


@pytest.mark.parametrize("able", [True, False])
def test_a_cheat_that_cannot_cheat_here_is_named_and_not_judged(
    able: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_ways, "has_bf16", lambda: able)
    idle = [path for path in SCRIPTS if redteam.idle(path)]
    assert [path.stem for path in idle] == ([] if able else ["silent_bf16"])
    assert ("| blind | silent_bf16 |" in redteam.table([], idle)) is not able
