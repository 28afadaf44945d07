"""What planners are told about techniques is what the techniques themselves go by."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from agent import knowledge
from engines.errors import TechniqueError
from engines.techniques import all_techniques


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


def test_an_unknown_technique_is_refused() -> None:
    with pytest.raises(TechniqueError, match="There is no technique 'magic'"):
        knowledge.facts("magic")
    with pytest.raises(TechniqueError, match="There is no technique 'magic'"):
        knowledge.conflicts("int8", "magic")


MEASURED = Path(__file__).parents[2] / "docs/benchmarks/2026-11-28-techniques.md"
WORDS = {
    "student": "student", "pruned": "pruning", "steps": "fewer-steps", "DPM++": "scheduler",
    "UniPC": "scheduler", "Euler": "scheduler", "guided": "guidance-cutoff",
    "sequential": "sequential-guidance", "half": "progressive-resolution", "cache": "feature-cache",
    "first": "threshold-cache", "gate": "attention-gate", "merge": "token-merging", "fused": "fused-qkv",
    "tiny": "tiny-decoder", "prompt": "prompt-cache", "channels": "channels-last", "bf16": "bf16",
    "int8": "int8",
}  # fmt: skip
"""How a row of the table says which technique it is about."""


def test_what_was_measured_lies_in_what_the_knowledge_expects() -> None:
    """Both sides of each ratio have intervals: the engine's own gain over eager and the technique's on it."""
    row = re.compile(r"\| (\w+) \| ([^|]+) \| [\d.]+ \(([\d.]+)-([\d.]+)\) \|")
    found = [
        (engine, label, float(low), float(high))
        for engine, label, low, high in row.findall(MEASURED.read_text(encoding="utf-8"))
    ]
    assert len(found) > 50
    plain = {engine: (low, high) for engine, label, low, high in found if label == "(engine alone)"}
    for engine, label, low, high in found:
        if label == "(engine alone)":
            expected, ends = knowledge.facts("engine").factor, (low, high)
        else:
            words = label.split()
            name = next(WORDS[word] for word in words if word in WORDS)
            expected = knowledge.facts(name).factor
            ends = (low / plain[engine][1], high / plain[engine][0])
        assert ends[0] <= expected[1], (engine, label, ends)
        assert ends[1] >= expected[0], (engine, label, ends)
