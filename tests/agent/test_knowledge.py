"""What planners are told about techniques is what the techniques themselves go by."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest

from agent import knowledge
from agent.llm.briefing import Surroundings
from agent.planner.context import prepare
from agent.planner.llm import system_blocks
from engines.errors import TechniqueError
from engines.models.card import Card, Component
from engines.techniques import all_techniques
from engines.workload import Workload


def test_every_technique_has_facts_with_sources() -> None:
    for kind in all_techniques():
        assert knowledge.facts(kind.name).sources


def test_conflicts_are_those_of_the_techniques_in_either_order() -> None:
    for first, second in itertools.combinations(all_techniques(), 2):
        rules = knowledge.conflicts(first.name, second.name)
        assert rules == knowledge.conflicts(second.name, first.name)
        assert bool(rules) == (second.name in first.excludes)
        for rule in rules:
            assert rule.reason == first.excludes[second.name]
            assert rule.source


def test_a_technique_does_not_conflict_with_itself() -> None:
    assert knowledge.conflicts("int8", "int8") == ()


def test_the_summary_names_every_technique_parameter_and_conflict() -> None:
    text = knowledge.summary()
    for kind in all_techniques():
        assert f"{kind.name}: {kind.summary}" in text
        for parameter in kind.parameters:
            assert f"  {parameter.name} ({parameter.kind}" in text
        for other in kind.excludes:
            assert f"not with {other}" in text


def _card(kind: str, family: str) -> Card:
    part = Component("unet" if "UNet" in kind else "transformer", kind, 1, "fp16", 2)
    return Card("A model", "here", family, "text-to-image", 512, 30, 5.0, "", (part,), "0", 4)


UNET = _card("UNet2DConditionModel", "stable-diffusion-xl")
NAMES = [kind.name for kind in all_techniques()] + ["engine/compile", "engine/openvino"]


def test_rules_told_are_those_that_concern_the_model_and_the_device() -> None:
    told = knowledge.compatibility(NAMES, UNET, "cpu")
    for reason in (
        "One graph cannot skip by its own data",
        "What changes weights comes first",
        "Do not judge it by PSNR",
    ):
        assert reason in told
    for elsewhere in ("FLUX takes guidance as a number", "fp8 arithmetic begins with Ada", "SageAttention"):
        assert elsewhere not in told
    assert "engine/openvino" in told
    assert "engine/coreml" not in told
    flux = knowledge.compatibility(NAMES, _card("FluxTransformer2DModel", "flux"), "cuda")
    assert "FLUX takes guidance as a number" in flux
    assert "- fp8 with an Ampere GPU, a Turing GPU, no: fp8 arithmetic begins with Ada" in flux
    assert "with a U-Net" not in flux


def test_no_rule_is_told_about_a_technique_that_cannot_be_used() -> None:
    """Every line names one that can, and without any only what holds for every recipe is left."""
    told = knowledge.compatibility(["bf16", "cuda-graphs", "guidance-cutoff"], UNET, "cuda")
    about = [line.partition(":")[0] for line in told.splitlines()]
    assert len(about) > 2
    for words in about:
        assert words.startswith("- every recipe") or re.search(r"bf16|cuda-graphs|guidance-cutoff", words)
        assert not re.search(r"int8|feature-cache|student", words)
    assert knowledge.compatibility([], UNET, "cuda").count("\n- ") == 0


def test_the_language_model_is_told_the_rules_in_what_the_service_caches() -> None:
    context = prepare("here", UNET, "cuda", Workload())
    for blocks, known in (
        (system_blocks(context, Surroundings()), True),
        (system_blocks(context, Surroundings(), knowledge=False), False),
    ):
        assert ("A captured graph replays the same work every time" in "".join(blocks)) == known


def test_an_unknown_technique_is_refused() -> None:
    with pytest.raises(TechniqueError, match="There is no technique 'magic'"):
        knowledge.facts("magic")
    with pytest.raises(TechniqueError, match="There is no technique 'magic'"):
        knowledge.conflicts("int8", "magic")


MEASURED = Path(__file__).parents[2] / "docs/benchmarks/technique-rows.jsonl"


def test_what_was_measured_lies_in_what_the_knowledge_expects() -> None:
    """Both sides of each ratio have intervals: the engine's own gain over eager and the technique's on it."""
    found = [json.loads(line) for line in MEASURED.read_text(encoding="utf-8").splitlines()]
    assert len(found) > 50
    plain = {row["engine"]: (row["low"], row["high"]) for row in found if row["technique"] == "engine"}
    for row in found:
        engine, label, low, high = row["engine"], row["label"], row["low"], row["high"]
        if label == "(engine alone)":
            expected, ends = knowledge.facts("engine").factor, (low, high)
        else:
            expected = knowledge.facts(row["technique"]).factor
            ends = (low / plain[engine][1], high / plain[engine][0])
        assert ends[0] <= expected[1], (engine, label, ends)
        assert ends[1] >= expected[0], (engine, label, ends)
