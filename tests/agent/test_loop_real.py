"""The loop on the bundled model with the real judge: scripts, engines, processes, measurements."""

from pathlib import Path

import pytest

from agent.coder import ScriptWriter
from agent.debugger import RuleDebugger
from agent.evaluate.judge import Judge
from agent.loop import Settings, evolve
from agent.planner.builtin import BuiltinPlanner
from agent.planner.context import prepare
from engines.models.card import describe
from engines.models.load import open_model
from engines.workload import Workload


@pytest.mark.slow
def test_a_small_run_on_the_bundled_model_finds_something_faster_than_the_baseline(tmp_path: Path) -> None:
    workload = Workload(steps=10)
    context = prepare("tiny-scenes", describe(open_model("tiny-scenes")), "cpu", workload)
    coder = ScriptWriter()
    with Judge("tiny-scenes", "cpu", workload, tmp_path) as judge:
        outcome = evolve(
            context,
            judge,
            BuiltinPlanner(),
            coder,
            RuleDebugger(coder),
            settings=Settings(generations=1, population=2),
        )
    assert [one.verdict.state for one in outcome.history] == ["passed"] * 3, [
        (one.id, one.verdict.reason, one.verdict.evidence) for one in outcome.history
    ]
    speedups = [one.verdict.speedup for one in outcome.history[1:]]
    assert any(speedup is not None and speedup.low > 1.2 for speedup in speedups)
    assert outcome.winner in outcome.to_certify
