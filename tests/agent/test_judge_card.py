"""The judge on an NVIDIA card: what candidates reach there, behind the same walls."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.candidate import Candidate, Proposal, Recipe, Step, Verdict
from agent.coder import ScriptWriter
from agent.evaluate.judge import Judge
from agent.planner.context import prepare
from engines.models.card import describe
from engines.models.load import open_model
from engines.workload import Workload

TOO_MUCH = """
import torch
def load(model, device, workload):
    return torch.empty(2**44, dtype=torch.uint8, device="cuda")
def generate(pipeline, prompts, seeds):
    return pipeline
"""


@pytest.mark.gpu
def test_candidates_are_judged_on_a_card_as_on_the_cpu(tmp_path: Path) -> None:
    workload = Workload(steps=10)
    card = describe(open_model("tiny-scenes"))
    context = prepare("tiny-scenes", card, "cuda", workload, metric="adherence")
    recipes: dict[str, Recipe] = {
        "c001": (Step("engine", {"backend": "compile"}),),
        "c002": (Step("fewer-steps", {"steps": 6}), Step("bf16", {})),
    }
    found: dict[str, Verdict] = {}
    with Judge("tiny-scenes", "cuda", workload, tmp_path, metric="adherence", gate=8) as judge:
        first = judge.baseline()
        assert first.state == "passed", first.reason
        given = Candidate("c003", 1, Proposal((), "", "given"), TOO_MUCH)
        refused = judge.judge(given, lambda _stage, _message: None)
        for name, recipe in recipes.items():
            proposal = Proposal(recipe, "", "new")
            script = ScriptWriter().write(proposal, context)
            candidate = Candidate(name, 1, proposal, script)
            found[name] = judge.judge(candidate, lambda _stage, _message: None)
    assert refused.state == "failed"
    assert "The device ran out of memory: 16384.00 GiB more were wanted" in refused.reason
    assert first.card_memory is not None
    for name, verdict in found.items():
        assert verdict.state == "passed", (name, verdict.reason, verdict.evidence)
        assert verdict.fallbacks == ()
        assert verdict.card_memory is not None
        assert verdict.card_memory > 100  # a CUDA context alone takes more
        assert verdict.floor is not None
        assert verdict.latency is not None
        assert 0 < verdict.floor < verdict.latency.value
    assert found["c001"].speedup is not None
    assert found["c001"].speedup.low > 1
