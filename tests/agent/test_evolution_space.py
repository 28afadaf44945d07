"""The joint space: recipes as points, one canonical text each."""

import random
from itertools import islice
from typing import Any

import pytest

from agent.candidate import Step
from agent.errors import RecipeError
from agent.evolution.space import Axis, Parameter, Space, key
from agent.planner.structures import Fits, assemble, at_random, joined, make_room, neighbours


def test_every_recipe_survives_the_way_to_a_point_and_back(world: Any) -> None:
    fits = Fits(world.context.check, world.space)
    for recipe in islice(at_random(world.space, random.Random(3), fits), 60):
        assert world.space.recipe(world.space.point(recipe)) == recipe


def test_points_have_the_same_coordinates_whatever_is_on(world: Any) -> None:
    names = set(world.space.distributions())
    assert set(world.space.point(())) == names
    assert set(world.space.point((Step("student", {"steps": 2}), Step("int8")))) == names


def test_numbers_of_absent_techniques_stand_at_their_defaults(world: Any) -> None:
    assert world.space.point(())["student.steps"] == 4


def test_recipes_written_differently_have_one_key(world: Any) -> None:
    one = (Step("engine", {"backend": "openvino"}), Step("fewer-steps", {"steps": 15}))
    other = (Step("fewer-steps"), Step("engine", {"backend": "openvino"}))
    assert world.space.key(one) == world.space.key(other)


def test_steps_that_change_nothing_are_left_out(world: Any) -> None:
    recipe = (Step("engine", {"backend": "torch"}), Step("fewer-steps", {"steps": 30}), Step("bf16"))
    assert world.space.canonical(recipe) == (Step("bf16"),)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ((Step("magic"),), "no technique 'magic'"),
        ((Step("student", {"steps": 9}),), "from 1 to 8"),
        ((Step("student", {"speed": 1}),), "no parameter 'speed'"),
        ((Step("student", {"steps": "four"}),), "needs a number"),
        ((Step("engine", {"backend": "abacus"}),), "choose one of"),
        ((Step("bf16"), Step("bf16")), "stands twice"),
    ],
)
def test_a_bad_recipe_is_refused_with_a_sentence(world: Any, recipe: Any, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        world.space.canonical(recipe)


def test_a_slice_varies_the_numbers_and_nothing_else(world: Any) -> None:
    recipe = world.space.canonical((Step("fewer-steps", {"steps": 12}), Step("guidance-cutoff")))
    found = list(world.space.slice(recipe))
    assert len({key(one) for one in found}) == len(found) == 29 * 20
    assert {world.space.structure(one) for one in found} == {("fewer-steps", "guidance-cutoff")}
    assert 0 < len(list(world.space.slice(recipe, limit=30))) <= 30


def test_a_technique_that_is_added_pushes_out_what_excludes_it(world: Any) -> None:
    fits = Fits(world.context.check, world.space)
    before = assemble(
        world.space, {"scheduler": {}, "fewer-steps": {}, "engine": {"backend": "openvino"}}, fits
    )
    after = make_room(world.space, before, world.space.step("student"), fits)
    assert after is not None
    assert world.space.structure(after) == ("student", "engine/openvino")


def test_neighbours_and_joined_recipes_are_legal_and_differ_from_their_parents(world: Any) -> None:
    fits = Fits(world.context.check, world.space)
    fast = assemble(world.space, {"student": {}, "tiny-decoder": {}}, fits)
    careful = assemble(world.space, {"fewer-steps": {"steps": 9}, "engine": {"backend": "openvino"}}, fits)
    moves = [*neighbours(world.space, careful, fits), *joined(world.space, fast, careful, fits)]
    assert len(moves) > 10
    for move in moves:
        assert not world.context.check(move.recipe)
        assert key(move.recipe) not in (key(fast), key(careful))


def test_a_structure_that_broke_is_not_built_into_others(world: Any) -> None:
    fits = Fits(world.context.check, world.space, (("engine/openvino", "bf16"),))
    assert not fits(
        world.space.canonical((Step("engine", {"backend": "openvino"}), Step("bf16"), Step("student")))
    )
    assert fits(world.space.canonical((Step("engine", {"backend": "onnxruntime"}), Step("bf16"))))


@pytest.mark.parametrize("count", [1, 3, 4, 6])
def test_a_slice_ends_however_many_numbers_a_recipe_has(count: int) -> None:
    axes = tuple(
        Axis(f"t{at}", at, (Parameter("x", "int", 0, low=0, high=6 + at),), {}) for at in range(count)
    )
    recipe = tuple(Step(axis.technique, {"x": 1}) for axis in axes)
    assert 0 < len(list(Space(axes).slice(recipe, limit=8))) <= 8
