"""Preset *paper* without a key: four parents by fitness, each refined once, and three new structures."""

from dataclasses import replace
from typing import Any

import pytest

from agent.coder import title
from agent.loop import Settings, evolve
from agent.planner.builtin import BuiltinPlanner
from agent.planner.context import Context
from agent.planner.paper import PaperPlanner


class Writer:
    def write(self, proposal: Any, context: Any) -> str:
        return f"# {title(proposal.recipe)}"

    def baseline(self, context: Any) -> str:
        return "# baseline"

    def title(self, recipe: Any) -> str:
        return title(recipe)


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    return {}


@pytest.fixture
def whole(world: Any, kept: dict[str, Any]) -> Any:
    """A run of three generations; it takes a second, so it is made once."""
    if not kept:
        kept["run"] = evolve(world.context, world.judge(), PaperPlanner(), Writer(), settings=Settings(3))
    return kept["run"]


def after(world: Any, whole: Any, generation: int) -> Context:
    """The context in which a generation is planned."""
    before = [one for one in whole.history if one.candidate.generation < generation]
    context: Context = replace(
        world.context, history=tuple(before), generation=generation, reference=whole.reference
    )
    return context


def test_a_generation_refines_four_parents_once_and_adds_three_new(world: Any, whole: Any) -> None:
    for generation in (2, 3):
        there = [one.candidate.proposal for one in whole.history if one.candidate.generation == generation]
        assert [one.origin for one in there] == ["refined"] * 4 + ["new"] * 3
        parents = [one.parents[0] for one in there[:4]]
        assert len(set(parents)) == 4
        assert all("was drawn by its fitness" in one.why for one in there[:4])
    recipes = [world.space.key(one.candidate.proposal.recipe) for one in whole.history]
    assert len(set(recipes)) == len(recipes) == 22
    assert not [one.id for one in whole.history if world.context.check(one.candidate.proposal.recipe)]


def test_the_first_generation_is_the_built_in_planners(world: Any, whole: Any) -> None:
    context = after(world, whole, 1)
    assert PaperPlanner().propose(context, 7) == BuiltinPlanner().propose(context, 7)


def test_the_same_run_is_planned_the_same_way_and_goes_on_in_the_middle(world: Any, whole: Any) -> None:
    context = after(world, whole, 3)
    there = PaperPlanner().propose(context, 7)
    assert PaperPlanner().propose(context, 7) == there
    begun = [one for one in whole.history if one.candidate.generation <= 3][: len(context.history) + 2]
    left = PaperPlanner().propose(replace(context, history=tuple(begun)), 5)
    assert [one.origin for one in left] == ["refined"] * 2 + ["new"] * 3
    assert [one.parents for one in left[:2]] == [one.parents for one in there[2:4]]


def test_wishes_hold_in_every_plan(world: Any, whole: Any) -> None:
    context = replace(after(world, whole, 3), notes=("without int8", "with OpenVINO"))
    for proposal in PaperPlanner().propose(context, 7):
        names = {step.technique for step in proposal.recipe}
        assert "int8" not in names
        assert "engine/openvino" in world.space.structure(proposal.recipe)
