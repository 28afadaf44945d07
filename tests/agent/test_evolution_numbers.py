"""The Gaussian process: numbers tuned inside a structure, over the one joint space."""

import warnings
from typing import Any

import pytest

from agent.candidate import Candidate, Proposal, Step
from agent.evolution.front import Judged
from agent.evolution.numbers import Tuner
from agent.evolution.space import key

REFERENCE = (1.1, 0.5)


def history(world: Any, *recipes: Any) -> list[Judged]:
    judge = world.judge()
    found = [Judged(Candidate("c000", 0, Proposal((), "", "baseline"), ""), judge.baseline())]
    for index, recipe in enumerate(recipes, 1):
        candidate = Candidate(f"c{index:03}", 1, Proposal(world.space.canonical(recipe), "", "seed"), "")
        found.append(Judged(candidate, judge.judge(candidate, lambda *_: None)))
    return found


def solver(steps: int) -> Any:
    return (Step("scheduler", {"name": "dpm++2m"}), Step("fewer-steps", {"steps": steps}))


def test_the_choice_comes_from_the_pool_and_keeps_its_structure(world: Any) -> None:
    tuner = Tuner(world.space, history(world, *(solver(n) for n in (3, 8, 15, 25))), REFERENCE, 0.02, seed=1)
    pool = list(world.space.slice(world.space.canonical(solver(8))))
    assert key(tuner.choose(pool)) in {key(recipe) for recipe in pool}


def test_choices_in_a_row_spread_out(world: Any) -> None:
    tuner = Tuner(world.space, history(world, *(solver(n) for n in (3, 8, 15, 25))), REFERENCE, 0.02, seed=1)
    pool = list(world.space.slice(world.space.canonical(solver(8))))
    chosen = {key(tuner.choose(pool)) for _ in range(3)}
    assert len(chosen) == 3


def test_the_choice_is_where_the_front_has_room(world: Any) -> None:
    tuner = Tuner(
        world.space, history(world, *(solver(n) for n in (2, 3, 4, 24, 26, 28))), REFERENCE, 0.02, seed=1
    )
    pool = [world.space.canonical(solver(n)) for n in (1, 3, 9, 27)]
    assert key(tuner.choose(pool)) == key(pool[2])


def test_the_same_seed_chooses_the_same(world: Any) -> None:
    there = history(world, *(solver(n) for n in (3, 8, 15, 25)))
    pool = list(world.space.slice(world.space.canonical(solver(8))))
    first, second = (Tuner(world.space, there, REFERENCE, 0.02, seed=4).choose(pool) for _ in range(2))
    assert first == second


def test_with_too_few_verdicts_the_choice_is_still_from_the_pool(world: Any) -> None:
    tuner = Tuner(world.space, history(world), REFERENCE, 0.02)
    pool = list(world.space.slice(world.space.canonical(solver(8))))
    assert tuner.choose(pool) in pool
    with pytest.raises(ValueError, match="empty pool"):
        tuner.choose([])


def test_optuna_neither_warns_nor_logs(world: Any, capfd: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tuner = Tuner(world.space, history(world, *(solver(n) for n in (3, 8, 15, 25))), REFERENCE, 0.02)
        tuner.wait_for(world.space.canonical(solver(5)))
        tuner.choose(list(world.space.slice(world.space.canonical(solver(8)))))
    said = capfd.readouterr()
    assert said.out == said.err == ""
