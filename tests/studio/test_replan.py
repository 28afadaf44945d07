"""A serving cascade is planned by what it measured of itself."""

from __future__ import annotations

from typing import Any

import pytest

from engines.package.serving.values import Load, Settings, Tuning
from studio.plan.replan import make_planner

CURVE = [
    {"threshold": at / 10, "share": at / 10, "quality": {"value": quality}}
    for at, quality in enumerate((0.90, 0.92, 0.94, 0.95, 0.96, 0.965, 0.97, 0.972, 0.974, 0.975, 0.97))
]
FACTS = {"cascade": {"curve": CURVE, "discriminator": {"metric": "adherence"}}}
SETTINGS = Settings(0.5, Tuning(4, 0.0, 2), Tuning(4, 0.0, 2))


def load(demand: float, **more: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "demand": demand,
        "deferred": 0.5,
        "late": 0.0,
        "light_seconds": {1: 0.05, 2: 0.08, 4: 0.14},
        "heavy_seconds": {1: 0.4, 2: 0.7, 4: 1.3},
        "light_queue": 0,
        "heavy_queue": 0,
        "light_workers": 2,
        "heavy_workers": 2,
        "light_start": 0.0,
        "heavy_start": 0.0,
    }
    return Load(**(values | more)).to_json()


def replan(demand: float, objective: float = 2.0, **more: Any) -> dict[str, Any]:
    planner = make_planner(FACTS, objective)
    return planner({"load": load(demand, **more), "settings": SETTINGS.to_json()})


def test_little_load_is_planned_for_the_best_measured_quality() -> None:
    found = replan(0.5)
    # All heavy is worse than nine tenths of it: the threshold is not simply the largest that can be had.
    assert found["threshold"] == 0.9
    assert SETTINGS.changed({key: value for key, value in found.items() if key != "note"}).threshold == 0.9
    assert "90% deferred" in found["note"]


def test_more_load_defers_less_and_never_more_than_the_processes_can_draw() -> None:
    thresholds = []
    for demand in (1.0, 4.0, 8.0, 14.0, 30.0):
        found = replan(demand)
        thresholds.append(found["threshold"])
        heavy = found["heavy"]
        capacity = heavy["workers"] * heavy["batch"] / load(1.0)["heavy_seconds"][heavy["batch"]]
        assert demand * found["threshold"] <= capacity
        assert found["light"]["workers"] + heavy["workers"] == 4
        assert min(found["light"]["workers"], heavy["workers"]) >= 1
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] > thresholds[-1]


@pytest.mark.parametrize(("demand", "objective"), [(1000.0, 2.0), (1.0, 0.01)])
def test_where_no_plan_meets_the_objective_nothing_is_deferred_and_it_is_said(
    demand: float, objective: float
) -> None:
    found = replan(demand, objective)
    assert found["threshold"] == 0.0
    assert found["note"].startswith("Nothing is deferred: ")
    assert set(found) == {"threshold", "note"}


def test_nothing_asked_changes_nothing() -> None:
    assert set(replan(0.0)) == {"note"}


def test_numbers_that_came_through_json_plan_the_same() -> None:
    text: dict[str, Any] = {
        "light_seconds": {"1": 0.05, "2": 0.08, "4": 0.14},
        "heavy_seconds": {"1": 0.4, "2": 0.7, "4": 1.3},
    }
    assert replan(4.0, **text) == replan(4.0)
