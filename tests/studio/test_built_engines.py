"""What engines were built for and where they were verified are two facts, kept in a verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.bench.verdicts import from_json, to_json
from agent.candidate import BuiltEngine, Verdict
from studio.record import verdict as record
from studio.work.convert import verdict_event, verdict_value

TEXT = BuiltEngine("text_encoder", "openvino", "fp32", "the CPU", "the CPU", psnr=200.0)
DENOISER = BuiltEngine("denoiser", "openvino", "bf16", "the CPU", "the CPU", psnr=54.27)
APPLE = BuiltEngine(
    "denoiser", "mlx", "fp16", "an Apple GPU", stand_in="MLX on this machine's CPU", psnr=61.0
)
UNSEEN = BuiltEngine("decoder", "coreml", "fp16", "an Apple device")


def test_engines_survive_the_journal_and_the_bench() -> None:
    verdict = Verdict("passed", "gate", engines=(TEXT, DENOISER, UNSEEN))
    assert verdict_value(verdict_event(verdict)) == verdict
    assert from_json(to_json(verdict)) == verdict


def test_a_verdict_from_before_says_nothing_of_engines() -> None:
    old = verdict_event(Verdict("passed", "gate")).model_dump(mode="json")
    del old["engines"]
    found = record.Verdict.model_validate(old)
    assert (found.built_for, found.verified_on, found.parity) == ("", "", None)
    assert not found.verified_elsewhere


@pytest.mark.parametrize(
    ("engines", "built", "verified", "elsewhere"),
    [
        ((TEXT, DENOISER), "the CPU", "the CPU", False),
        ((APPLE,), "an Apple GPU", "nowhere yet; MLX on this machine's CPU stood in", True),
        ((UNSEEN,), "an Apple device", "nowhere yet", True),
        (
            (TEXT, UNSEEN),
            "the CPU (text_encoder), an Apple device (decoder)",
            "the CPU (text_encoder), nowhere yet (decoder)",
            True,
        ),
        ((replace(APPLE, verified_on="the CPU"),), "an Apple GPU", "the CPU", True),
    ],
)
def test_built_for_and_verified_on_are_said_apart(
    engines: tuple[BuiltEngine, ...], built: str, verified: str, elsewhere: bool
) -> None:
    found = verdict_event(Verdict("passed", "gate", engines=engines))
    assert (found.built_for, found.verified_on) == (built, verified)
    assert found.verified_elsewhere is elsewhere


def test_component_parity_is_the_worst_engines() -> None:
    found = verdict_event(Verdict("passed", "gate", engines=(TEXT, DENOISER, UNSEEN))).parity
    assert found is not None
    assert (found.component, found.likeness) == ("denoiser", "54.3 dB")
    same = verdict_event(Verdict("passed", "gate", engines=(TEXT,))).parity
    assert same is not None
    assert same.likeness == "equal to eager"
    assert verdict_event(Verdict("passed", "gate", engines=(UNSEEN,))).parity is None
