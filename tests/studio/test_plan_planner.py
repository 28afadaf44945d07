"""The planner against an integer programme, brute force, and itself when things get better."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from studio.errors import NoPlan, PlanError
from studio.plan import mixed
from studio.plan.planner import feasible, plan
from studio.plan.profile import Device, Profile, per_image
from studio.plan.quality import Choices
from studio.plan.sentences import plan_sentences
from studio.plan.situation import Goal, Situation, wait_factor
from tests.studio.cascade_tables import tables, with_dip

Floats = NDArray[np.float64]


def random_choices(draw: np.random.Generator, count: int) -> Choices:
    shares = np.concatenate([[0.0], np.sort(draw.random(count - 2)), [1.0]])
    loss = draw.normal(0, 1, count)
    return Choices(np.linspace(0, 1, count), shares, -loss, loss - loss[-1], "worth", True)


def random_profile(draw: np.random.Generator, name: str, scale: float, *, load: float = 0.0) -> Profile:
    sizes = tuple(
        sorted(draw.choice([1, 2, 3, 4, 8, 16], size=int(draw.integers(2, 5)), replace=False).tolist())
    )
    seconds = tuple(scale * (draw.uniform(0.2, 0.8) + size * draw.uniform(0.3, 1.1)) for size in sizes)
    spread = tuple(value * draw.uniform(0, 0.3) for value in seconds) if draw.random() < 0.5 else ()
    return Profile(name, sizes, seconds, spread, load)


def random_situation(draw: np.random.Generator, goal: Goal) -> Situation:
    workers = int(draw.choice([1, 2, 5, 16, 60, 1000]))
    load = float(draw.choice([0.0, 2.0, 20.0]))
    light = random_profile(draw, "light", 0.05, load=load)
    heavy = random_profile(draw, "heavy", 0.5, load=load)
    scorer = per_image("score", float(draw.choice([0.0, 0.01])), light.largest)
    choices = random_choices(draw, 12)
    held = int(draw.integers(0, workers + 1))
    measured = draw.random() < 0.5
    return Situation(
        devices=(Device("a", workers, light, heavy, scorer),),
        choices=choices,
        demand=workers * float(draw.uniform(0.2, 6)),
        latency=float(draw.uniform(0.3, 6)),
        goal=goal,
        max_loss=float(np.quantile(choices.loss, draw.uniform(0.2, 1))),
        headroom=float(draw.uniform(1.01, 1.5)),
        tail=None if draw.random() < 0.3 else 0.9,
        batch_wait=float(draw.choice([0.0, 0.1])),
        light_wait=float(draw.uniform(0, 0.2)) if measured else None,
        heavy_wait=float(draw.uniform(0, 1)) if measured else None,
        now=((held, workers - held),) if draw.random() < 0.5 else None,
    )


def programme(case: Situation) -> float | None:
    """The best value by HiGHS, or `None`; written from the formulas, not from the planner.

    Variables: one of the thresholds, one batch size for each model ("none" for
    heavy where nothing is deferred), workers kept and workers loaded by batch.
    """
    device, choices = case.devices[0], case.choices
    total = device.workers
    z = NormalDist().inv_cdf(case.tail) if case.tail is not None else 0.0

    def rows(one: Profile, scorer: Profile | None, wait: float | None) -> tuple[Floats, Floats, float]:
        sizes = np.array(one.batches, dtype=float)
        added = np.interp(sizes, scorer.batches, scorer.seconds) if scorer else np.zeros(sizes.size)
        mean = np.array(one.seconds) + added
        tail = mean + z * np.array(one.spread or [0.0] * sizes.size)
        if wait is None:
            use = 1 / case.headroom
            waiting = use ** (math.sqrt(2 * total + 2) - 1)
            each = 1 / (2 * total * (1 - use))
            factor = (
                waiting * each if case.tail is None else max(0.0, each * math.log(waiting / (1 - case.tail)))
            )
            tail = tail * (1 + factor)
            wait = 0.0
        part = 1.0 if case.now is None else max(0.0, 1 - one.load_seconds / case.horizon)
        return sizes / mean, tail + wait + np.where(sizes > 1, case.batch_wait, 0.0), part

    t1, e1, g1 = rows(device.light, device.discriminator, case.light_wait)
    t2, e2, g2 = rows(device.heavy, None, case.heavy_wait)
    held = case.now[0] if case.now is not None else (total, total)
    n1, n2, k = t1.size, t2.size, len(choices)
    width = k + n1 + (n2 + 1) + 2 * n1 + 2 * n2
    at_w, at_o1, at_o2 = 0, k, k + n1
    at_y1, at_z1 = at_o2 + n2 + 1, at_o2 + n2 + 1 + n1
    at_y2, at_z2 = at_z1 + n1, at_z1 + n1 + n2
    matrix, low, high = [], [], []

    def row(parts: dict[int, Floats], least: float, most: float) -> None:
        made = np.zeros(width)
        for at, values in parts.items():
            made[at : at + len(values)] = values
        matrix.append(made)
        low.append(least)
        high.append(most)

    one = np.ones
    row({at_w: one(k)}, 1, 1)
    row({at_o1: one(n1)}, 1, 1)
    row({at_o2: one(n2 + 1)}, 1, 1)
    for at_o, at_y, at_z, count in ((at_o1, at_y1, at_z1, n1), (at_o2, at_y2, at_z2, n2)):
        for b in range(count):
            row({at_o + b: one(1) * -total, at_y + b: one(1), at_z + b: one(1)}, -np.inf, 0)
    row({at_y1: one(n1)}, 0, held[0])
    row({at_y2: one(n2)}, 0, held[1])
    row({at_y1: one(2 * n1 + 2 * n2)}, 0, total)
    row({at_y1: t1, at_z1: t1 * g1}, case.headroom * case.demand, np.inf)
    row({at_y2: t2, at_z2: t2 * g2, at_w: -case.headroom * case.demand * choices.shares}, 0, np.inf)
    row({at_o1: e1, at_o2: np.append(e2, 0.0)}, 0, case.latency)
    cost = np.zeros(width)
    if case.goal == "threshold":
        cost[at_w : at_w + k] = -np.arange(k)
    elif case.goal == "loss":
        cost[at_w : at_w + k] = choices.loss
    else:
        cost[at_y1:] = 1
    assert case.max_loss is not None
    row({at_w: choices.loss}, -np.inf, case.max_loss)
    upper = np.concatenate([one(k + n1 + n2 + 1), np.full(2 * n1 + 2 * n2, float(total))])
    found = milp(
        cost,
        integrality=np.ones(width, dtype=np.int64),
        bounds=Bounds(np.zeros(width), upper),
        constraints=LinearConstraint(np.array(matrix), low, high),
        options={"mip_rel_gap": 0.0},
    )
    return float(found.fun) if found.success else None


def value(case: Situation) -> float | None:
    found = feasible(case)
    if found is None:
        return None
    if case.goal == "threshold":
        return -float(np.flatnonzero(case.choices.thresholds == found.threshold)[0])
    if case.goal == "loss":
        return found.loss
    return float(found.light_workers + found.heavy_workers)


@pytest.mark.parametrize(("goal", "seed"), [("threshold", 1), ("loss", 2), ("workers", 3)])
def test_enumeration_is_as_good_as_the_integer_programme_on_a_thousand_cases(goal: Goal, seed: int) -> None:
    draw = np.random.default_rng(seed)
    solved = 0
    for number in range(340):
        case = random_situation(draw, goal)
        mine, theirs = value(case), programme(case)
        assert (mine is None) == (theirs is None), f"case {number}: {mine} against {theirs}"
        if mine is not None and theirs is not None:
            assert mine == pytest.approx(theirs, abs=1e-6), f"case {number}"
            solved += 1
    assert solved > 100


def mixed_situation(draw: np.random.Generator, goal: Goal, kinds: int, most: int) -> Situation:
    devices = []
    for at in range(kinds):
        scale = float(draw.uniform(0.5, 3))
        devices.append(
            Device(
                f"d{at}",
                int(draw.integers(1, most)),
                random_profile(draw, "light", 0.05 * scale),
                random_profile(draw, "heavy", 0.5 * scale * float(draw.uniform(0.5, 1.5))),
                cost=float(draw.uniform(0.5, 4)),
            )
        )
    choices = random_choices(draw, 12)
    return Situation(
        tuple(devices),
        choices,
        demand=sum(one.workers for one in devices) * float(draw.uniform(0.3, 3)),
        latency=float(draw.uniform(0.5, 6)),
        goal=goal,
        max_loss=float(np.quantile(choices.loss, draw.uniform(0.3, 1))),
        headroom=1.2,
    )


def by_hand(case: Situation) -> float | None:
    """Every division of a small mixed fleet, every batch size of every device."""
    factor = wait_factor(case.workers, 1 / case.headroom, case.tail)
    options = []
    for device in case.devices:
        kinds = [
            [(size, size / one.at(size), one.at(size, case.tail) * (1 + factor)) for size in one.batches]
            for one in (device.light, device.heavy)
        ]
        options.append(kinds)
    best = None
    bounds = sorted({entry[2] for light, _ in options for entry in light})
    for bound in bounds:
        light = [max([rate for _, rate, time in kinds[0] if time <= bound], default=0.0) for kinds in options]
        for use_heavy in (False, True):
            limit = case.latency - bound
            if limit < -1e-9 or bound > case.latency:
                continue
            heavy = [
                max([rate for _, rate, time in kinds[1] if time <= limit], default=0.0) for kinds in options
            ]
            for x1 in itertools.product(*(range(one.workers + 1) for one in case.devices)):
                if sum(x * rate for x, rate in zip(x1, light, strict=True)) < case.needed - 1e-9:
                    continue
                spare = [one.workers - x for one, x in zip(case.devices, x1, strict=True)]
                for x2 in (
                    itertools.product(*(range(count + 1) for count in spare))
                    if use_heavy
                    else [(0,) * len(x1)]
                ):
                    power = sum(x * rate for x, rate in zip(x2, heavy, strict=True))
                    served = (case.needed_heavy <= power + 1e-9) & case.allowed
                    if not served.any():
                        continue
                    price = sum(one.cost * (a + b) for one, a, b in zip(case.devices, x1, x2, strict=True))
                    k = int(np.flatnonzero(served)[-1])
                    score = {
                        "threshold": -float(k),
                        "loss": float(case.choices.loss[served].min()),
                        "workers": float(sum(x1) + sum(x2)),
                        "cost": price,
                    }[case.goal]
                    best = score if best is None else min(best, score)
    return best


@pytest.mark.parametrize("goal", ["threshold", "loss", "workers", "cost"])
def test_mixed_devices_are_planned_as_well_as_by_trying_everything(goal: Goal) -> None:
    draw = np.random.default_rng(7)
    solved = 0
    for _ in range(12):
        case = mixed_situation(draw, goal, kinds=2, most=5)
        found, best = feasible(case), by_hand(case)
        assert (found is None) == (best is None)
        if found is None or best is None:
            continue
        mine = found.cost if goal == "cost" else value(case)
        assert mine == pytest.approx(best, abs=1e-6)
        solved += 1
    assert solved >= 5


def test_the_cheapest_mixed_fleet_is_the_same_whether_tried_whole_or_solved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = np.random.default_rng(11)
    compared = 0
    for _ in range(60):
        goal: Goal = "cost" if draw.random() < 0.5 else "workers"
        case = mixed_situation(draw, goal, kinds=2, most=12)
        whole = feasible(case)
        with monkeypatch.context() as patched:
            patched.setattr(mixed, "_ALL", 0)
            solved = feasible(case)
        assert (whole is None) == (solved is None)
        if whole is not None and solved is not None:
            compared += 1
            spent = [
                one.cost if goal == "cost" else one.light_workers + one.heavy_workers
                for one in (whole, solved)
            ]
            assert spent[0] == pytest.approx(spent[1])
    assert compared > 15


def test_a_large_mixed_fleet_reaches_what_the_relaxation_allows() -> None:
    draw = np.random.default_rng(5)
    exact = [
        found.exact
        for _ in range(40)
        if (found := feasible(mixed_situation(draw, "loss", kinds=3, most=4000))) is not None
    ]
    assert len(exact) > 15
    assert statistics.mean(exact) > 0.8


def fulfils(case: Situation) -> None:
    """A plan keeps every row of the programme, checked from its own numbers."""
    found = plan(case)
    device, one = case.devices[0], found.allocations[0]
    assert one.light_workers + one.heavy_workers <= device.workers
    light = one.light_workers * one.light_batch / device.light_seconds(one.light_batch)
    assert light >= case.headroom * case.demand - 1e-6
    if found.share > 0:
        heavy = one.heavy_workers * one.heavy_batch / device.heavy.at(one.heavy_batch)
        assert heavy >= case.headroom * case.demand * found.share - 1e-6
    assert found.heavy_latency <= case.latency + 1e-6


def better(case: Situation) -> list[Situation]:
    device = case.devices[0]
    return [
        replace(case, devices=(replace(device, workers=device.workers + 1),)),
        replace(case, devices=(replace(device, workers=device.workers * 3),)),
        replace(case, latency=case.latency * 1.3),
        replace(case, demand=case.demand * 0.8),
        replace(case, devices=(replace(device, heavy=device.heavy.scaled(0.8)),)),
        replace(case, devices=(replace(device, light=device.light.scaled(0.8)),)),
        replace(case, devices=(replace(device, discriminator=None),)),
    ]


@pytest.mark.parametrize("goal", ["threshold", "loss", "workers"])
def test_more_or_quicker_workers_less_load_and_more_time_never_make_a_plan_worse(goal: Goal) -> None:
    draw = np.random.default_rng(11)
    compared = 0
    for _ in range(120):
        case = replace(random_situation(draw, goal), now=None)
        before = value(case)
        if before is None:
            continue
        if goal == "loss":
            fulfils(case)
        for number, easier in enumerate(better(case)):
            after = value(easier)
            assert after is not None, number
            assert after <= before + 1e-9, number
            compared += 1
    assert compared > 200


def test_the_largest_threshold_is_not_the_least_loss_where_a_mix_is_best() -> None:
    made = replace(tables(workers=200), quality=with_dip())
    case = Situation(made.devices, made.choices(), demand=20, latency=6)
    assert plan(replace(case, goal="threshold")).share == pytest.approx(1.0)
    best = plan(case)
    assert best.share == pytest.approx(0.6, abs=0.01)
    assert best.quality == pytest.approx(16.8, abs=0.02)
    assert best.loss < 0


def test_nothing_can_be_met_is_said_with_what_can() -> None:
    made = tables(workers=4)
    case = Situation(made.devices, made.choices(), demand=500, latency=2)
    with pytest.raises(NoPlan, match="nearest load") as caught:
        plan(case)
    assert caught.value.demand is not None
    assert caught.value.workers is not None
    assert feasible(replace(case, demand=caught.value.demand)) is not None
    assert feasible(replace(case, demand=caught.value.demand * 1.02)) is None
    more = replace(made.devices[0], workers=caught.value.workers)
    assert feasible(replace(case, devices=(more,))) is not None
    assert feasible(replace(case, devices=(replace(more, workers=more.workers - 1),))) is None

    hasty = Situation(made.devices, made.choices(), demand=5, latency=0.02)
    with pytest.raises(NoPlan, match="nearest objective that can be met is") as caught:
        plan(hasty)
    assert caught.value.objective is not None
    assert feasible(replace(hasty, latency=caught.value.objective)) is not None
    assert feasible(replace(hasty, latency=caught.value.objective * 0.97)) is None


def test_a_quality_that_no_threshold_has_is_refused_with_the_best_there_is() -> None:
    made = tables(workers=4)
    with pytest.raises(NoPlan, match="the least that can be lost is"):
        plan(Situation(made.devices, made.choices(), demand=1, latency=5, goal="workers", max_loss=-10))


def test_what_a_mixed_fleet_can_meet_is_found_quickly() -> None:
    made = tables(20)
    slow = replace(made.devices[0], name="slow", light=made.devices[0].light.scaled(2))
    case = Situation(
        (made.devices[0], slow), made.choices(), demand=900, latency=3, goal="cost", max_loss=0.02
    )
    start = time.thread_time()
    with pytest.raises(NoPlan, match="nearest load") as caught:
        plan(case)
    assert time.thread_time() - start < 2
    assert caught.value.demand is not None
    assert feasible(replace(case, demand=caught.value.demand)) is not None


def test_without_head_room_the_estimated_waits_leave_no_plan() -> None:
    made = tables(workers=16)
    shares = []
    for headroom in (1.0, 1.02, 1.2, 3.0):
        found = feasible(Situation(made.devices, made.choices(), demand=10, latency=2.5, headroom=headroom))
        shares.append(-1.0 if found is None else found.share)
    assert shares[0] == -1
    assert shares[1] < shares[2]
    assert shares[3] < shares[2]


def test_a_swap_that_takes_the_horizon_leaves_the_workers_where_they_are() -> None:
    made = tables(workers=8, load_seconds=30)
    case = Situation(made.devices, made.choices(), demand=8, latency=4)
    free = plan(case)
    held = ((7, 1),)
    assert plan(replace(case, now=held, horizon=1e6)).share == pytest.approx(free.share, abs=0.01)
    slow = plan(replace(case, now=held, horizon=40))
    none = plan(replace(case, now=held, horizon=30))
    assert none.share < slow.share < free.share
    pinned = plan(replace(case, now=held, pinned=True))
    assert (pinned.light_workers, pinned.heavy_workers) == (7, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"demand": 0.0},
        {"demand": float("nan")},
        {"latency": -1.0},
        {"headroom": 0.9},
        {"tail": 1.0},
        {"goal": "luck"},
        {"goal": "workers"},
        {"pinned": True},
    ],
)
def test_numbers_that_cannot_be_are_refused_in_a_sentence(wrong: dict[str, Any]) -> None:
    made = tables()
    case = Situation(made.devices, made.choices(), demand=1.0, latency=1.0)
    with pytest.raises(PlanError, match=r"\.$"):
        replace(case, **wrong)


def test_ten_and_a_hundred_thousand_workers_are_planned_in_under_five_milliseconds() -> None:
    medians = []
    for workers in (10, 100_000):
        made = tables(workers=workers)
        case = Situation(made.devices, made.choices(), demand=0.8 * workers, latency=3)
        taken = []
        for _ in range(30):
            start = time.thread_time()
            plan(case)
            taken.append(time.thread_time() - start)
        medians.append(statistics.median(taken))
    assert max(medians) < 0.005


def test_a_plan_is_told_in_sentences_with_its_own_numbers() -> None:
    made = tables(workers=8)
    case = Situation(made.devices, made.choices(), demand=5, latency=4)
    found = plan(case)
    words = " ".join(plan_sentences(case, found))
    assert f"{found.light_workers} of 8 workers draw light" in words
    assert f"{found.share:.0%} of the prompts" in words
    assert "4 s are allowed" in words
