"""What planners are told about techniques is what the techniques themselves go by."""

from __future__ import annotations

import itertools

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
