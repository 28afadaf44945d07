"""A script that draws wrong pictures, repaired by a language model behind a server on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.record.journal import Journal
from studio.record.state import RunState
from studio.work.job import Job
from studio.work.runs import start
from tests.language_agent import Answers, plan
from tests.messages_service import MessagesService

_SCRIPT = '''from engines.pipeline import build, plan
from engines.techniques import FewerSteps

RECIPE = (FewerSteps(steps=6),)
SCALE = {scale}
"""What latents are divided by before they are decoded."""


def scaled(decoder):
    def component(inputs):
        return decoder({{"latent": inputs["latent"] / SCALE}})

    return component


def load(model, device, workload):
    pipeline = build(plan(model, device, workload, RECIPE))
    parts = pipeline.loop._components
    parts["decoder"] = scaled(parts["decoder"])
    return pipeline


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
'''


@pytest.mark.slow
def test_a_wrong_scale_factor_is_found_in_the_numbers_and_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the wrong sign: nothing fails, and the pictures are worth nothing."""
    monkeypatch.setenv("PARETO_STUDIO_LLM_KEY", "sk-canary-0b64d8ea")
    answers = Answers(
        [[plan(("fewer-steps", {"steps": 6}), code="Decode with a scale of its own.")]],
        [_SCRIPT.format(scale=-1.0)],
        [_SCRIPT.format(scale=1.0)],
    )
    folder = tmp_path / "runs" / "drift"
    with MessagesService(answers) as service:
        start(
            Job(tmp_path),
            model="tiny-scenes",
            generations=1,
            population=1,
            certify=False,
            out=str(folder),
            agent="llm",
            llm_url=service.url,
        )
        bodies = service.bodies
    state = RunState.replay(Journal.read(folder))
    first, second = (state.candidates[name].verdict for name in ("c001", "c002"))
    assert first is not None
    assert first.stopped, first
    assert second is not None
    assert second.state == "passed", second.reason
    assert state.candidates["c002"].proposal.parents == ("c001",)
    assert answers.asked == ["plan", "code", "repair"]
    told = bodies[2]["messages"][0]["content"]
    for shown in ("PSNR to the baseline's pictures in dB", "Levels of its pictures", "Losses of "):
        assert shown in told
    assert "decoder on torch fp32" in told, "each engine alone against eager"
