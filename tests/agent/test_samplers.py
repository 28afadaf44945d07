"""The table of measured candidates, who fills it, and who searches it; on the arithmetic judge."""

import json
import random
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.bench import contenders, replay
from agent.bench.contenders import CONTENDERS, World
from agent.bench.spread import distance, next_recipe
from agent.bench.table import FORMAT, Row, Table, append, read
from agent.candidate import Candidate, Proposal, Recipe
from agent.errors import TableError
from agent.evolution.front import reference_point
from agent.evolution.space import key
from agent.planner.structures import Fits


def row(world: Any, recipe: Recipe, why: str = "spread") -> Row:
    verdict = world.judge().judge(Candidate("c001", 1, Proposal(recipe, "", "new"), ""), lambda *_: None)
    return Row(
        recipe, "passed", why, "", verdict.speedup, verdict.latency, verdict.loss,
        verdict.metrics["psnr"], 100.0, verdict.stages, 1.5, 0.5,
    )  # fmt: skip


@pytest.fixture(scope="session")
def filled(world: Any) -> World:
    """Sixty rows, chosen as the measuring command chooses them."""
    base = world.judge().baseline()
    facts = {
        "format": FORMAT,
        "model": "Tiny Table",
        "target": "cpu",
        "metric": "adherence",
        "gate": 16,
        "date": "a day",
        "machine": {"processor": "arithmetic", "cores": 1},
        "baseline": {
            "seconds": [base.latency.value, base.latency.low, base.latency.high],
            "stages": base.stages,
        },
    }
    context = replace(world.context, reference=reference_point(base, 0.5))
    table = Table(facts)
    for _ in range(60):
        found = next_recipe(context, table, Fits(context.check, context.space), 0)
        assert found is not None
        table = replace(table, rows=(*table.rows, row(world, *found)))
    return World(context, table)


def test_a_table_covers_singles_the_space_and_the_front_and_no_recipe_twice(filled: World) -> None:
    texts = [key(one.recipe) for one in filled.table.rows]
    assert len(set(texts)) == 60
    assert {one.why for one in filled.table.rows} == {"seed", "spread", "front"}
    alone = {one.recipe[0].technique for one in filled.table.rows if len(one.recipe) == 1}
    assert {"student", "bf16", "tiny-decoder", "engine"} <= alone
    context = filled.context
    again = [next_recipe(context, filled.table, Fits(context.check, context.space), 0) for _ in range(2)]
    assert again[0] == again[1]


def test_a_table_that_was_cut_off_goes_on_and_damaged_lines_are_left_out(
    filled: World, tmp_path: Path
) -> None:
    path = tmp_path / "table.jsonl"
    append(path, filled.table.facts)
    for one in filled.table.rows[:2]:
        append(path, one.to_json())
    with path.open("a", encoding="utf-8") as file:
        file.write('{"recipe": [["stud')
    append(path, filled.table.rows[2].to_json())
    append(path, filled.table.rows[0].to_json() | {"loss": [0.4, 0.4, 0.4]})
    found = read(path)
    assert [one.recipe for one in found.rows] == [one.recipe for one in filled.table.rows[:3]]
    assert found.rows[0].to_json() == filled.table.rows[0].to_json()
    path.write_text(json.dumps({"format": FORMAT}) + "\n", encoding="utf-8")
    with pytest.raises(TableError, match="no table of measured candidates"):
        read(path)
    with pytest.raises(TableError, match="measure one first"):
        read(tmp_path / "nowhere.jsonl")


def test_seconds_are_the_baseline_s_over_the_speed_up_whatever_the_clock_said(filled: World) -> None:
    one = filled.table.rows[5]
    assert one.seconds is not None
    assert one.speedup is not None
    busy = replace(one, seconds=replace(one.seconds, value=one.seconds.value * 3))
    there = filled.table.verdict(busy)
    assert there.latency is not None
    base = filled.table.facts["baseline"]["seconds"][0]
    assert there.latency.value == pytest.approx(base / one.speedup.value)
    assert there.latency.low <= there.latency.value <= there.latency.high


def test_coordinates_are_as_far_apart_as_recipes_are(filled: World) -> None:
    space = filled.context.space
    for one, other in ((0, 1), (10, 40), (3, 59)):
        points = [space.point(filled.rows[at].recipe) for at in (one, other)]
        apart = float(np.abs(filled.points[one] - filled.points[other]).sum())
        assert apart == pytest.approx(distance(space, *points))


@pytest.mark.parametrize("name", sorted(CONTENDERS))
def test_a_contender_asks_for_measured_recipes_each_once_and_the_same_by_seed(
    filled: World, name: str
) -> None:
    budget = 10 if name in ("hybrid", "built-in agent") else 15
    found = CONTENDERS[name](filled, 3, budget)
    assert len(found) == budget
    assert len(set(found)) == budget or name.endswith("as drawn")
    assert all(0 <= at < len(filled.rows) for at in found)
    assert CONTENDERS[name](filled, 3, budget) == found
    assert CONTENDERS[name](filled, 4, budget) != found or name in ("hybrid", "built-in agent")


@pytest.mark.parametrize("name", sorted(CONTENDERS))
def test_a_table_may_be_older_than_a_technique(filled: World, name: str) -> None:
    late = {"int8", "prompt-cache"}
    rows = [one for one in filled.rows if not late & {step.technique for step in one.recipe}]
    older = World(filled.context, replace(filled.table, rows=tuple(rows)))
    assert not late & {axis.technique for axis in older.space.axes}
    found = CONTENDERS[name](older, 3, 10)
    assert all(0 <= at < len(rows) for at in found)


def test_a_sampler_is_told_of_the_row_that_was_measured_and_not_of_what_it_drew(
    filled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optuna

    told: list[dict[str, Any]] = []
    real = optuna.study.Study.tell

    def tell(self: Any, trial: Any, values: Any, **more: Any) -> Any:
        told.append(trial.params)
        return real(self, trial, values, **more)

    monkeypatch.setattr(optuna.study.Study, "tell", tell)
    make = partial(contenders._nsga, population=4)
    found = contenders.optuna_sampler(make, filled, 1, 16, fresh=False)
    space = filled.context.space
    assert told == [space.point(filled.rows[at].recipe) for at in found]


def test_the_whole_table_is_the_whole_front(filled: World) -> None:
    rows = list(range(len(filled.rows)))
    random.Random(0).shuffle(rows)
    for ratios in (True, False):
        curve = replay.Volume(filled, ratios).curve(rows, len(rows) + 5)
        assert curve[-1] == pytest.approx(1.0)
        assert (np.diff(curve) >= -1e-12).all()


def test_evaluations_needed_are_counted_where_the_mean_gets_there() -> None:
    rival = np.tile(np.linspace(0.1, 1.0, 10), (5, 1))
    there, got_there = replay.needed(rival, np.full(5, 0.65))
    assert (there.value, got_there) == (7, True)
    never, got_there = replay.needed(rival, np.full(5, 1.2))
    assert (never.value, got_there) == (11, False)


def test_a_replay_goes_on_where_it_was_and_says_what_it_compares(
    filled: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "searches.jsonl"
    monkeypatch.setattr(replay, "SHORT", 6)
    monkeypatch.setattr(replay, "LONG", 12)
    monkeypatch.setattr(replay, "SHOWN", (3, 6, 12))
    monkeypatch.setattr(replay, "_SEARCHES", {"hybrid": 6, "built-in agent": 6, "paper": 6})
    searched: list[tuple[str, int]] = []
    first = replay.search_all(filled, 1, kept, lambda *done: searched.append(done))
    assert searched == [(name, 0) for name in CONTENDERS]
    again = replay.search_all(filled, 1, kept, lambda *_: pytest.fail("it was searched before"))
    assert again == first
    text = replay.report(filled, first)
    assert "| hybrid |" in text
    assert "NSGA-II, population 7" in text
    assert "stands for the language model" in " ".join(text.split())
