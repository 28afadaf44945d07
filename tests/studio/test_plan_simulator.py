"""The simulator against queueing theory, and what must hold whatever happens in it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from studio.errors import PlanError
from studio.plan.control import Decision, Observation, Routing
from studio.plan.deferral import wilson
from studio.plan.outcome import DROPPED, FALLBACK, HEAVY, LIGHT
from studio.plan.policies import POLICIES
from studio.plan.profile import Device, Profile
from studio.plan.service import Service, WorkerLoss
from studio.plan.simulator import Simulation, simulate
from studio.plan.situation import Allocation
from studio.plan.tables import Tables
from studio.plan.traces import Trace, bursts, diurnal, poisson
from tests.studio.cascade_tables import profile, tables, with_dip

Floats = NDArray[np.float64]


class Fixed:
    """A decision that never changes."""

    name = title = "fixed"
    routing: Routing | None = None
    interval: float | None = None

    def __init__(self, decision: Decision, *, fallback: bool = False) -> None:
        self.decision, self.fallback = decision, fallback

    def decide(self, seen: Observation) -> Decision:
        return self.decision


def one_queue(variation: float, use: float, seed: int, count: int = 6000) -> Floats:
    """Waits of a single server that takes 1 s on average, the first thousand left out."""
    made = tables(
        1, light=Profile("light", (1,), (1.0,), (variation,) if variation else ()), score_seconds=0.0
    )
    draw = np.random.default_rng([seed, 9])
    trace = Trace("queue", np.cumsum(draw.exponential(1 / use, count)))
    service = Service(latency=1e9, drop_after=None)
    run = Simulation(made, service, trace, POLICIES["light"](made, service, trace), seed=seed)
    run.advance()
    return (np.array(run._begun[LIGHT]) - trace.arrivals)[1000:]


@pytest.mark.parametrize(
    ("variation", "expected"),
    [(1.0, lambda use: use / (1 - use)), (0.0, lambda use: use / (2 * (1 - use)))],
    ids=["M/M/1", "M/D/1"],
)
@pytest.mark.parametrize("use", [0.5, 0.7])
def test_waits_are_those_of_the_closed_forms(
    variation: float, expected: Callable[[float], float], use: float
) -> None:
    means = [one_queue(variation, use, seed).mean() for seed in range(12)]
    reach = stats.t.ppf(0.999, len(means) - 1) * np.std(means, ddof=1) / math.sqrt(len(means))
    assert abs(np.mean(means) - expected(use)) < reach
    assert reach < 0.35 * expected(use)


def test_a_single_server_with_fixed_times_follows_lindleys_recursion_exactly() -> None:
    waits = one_queue(0.0, 0.8, seed=3, count=2000)
    draw = np.random.default_rng([3, 9])
    gaps = np.diff(np.cumsum(draw.exponential(1 / 0.8, 2000)))
    lindley = [0.0]
    for gap in gaps:
        lindley.append(max(0.0, lindley[-1] + 1.0 - gap))
    np.testing.assert_allclose(waits, lindley[1000:], atol=1e-6)


def test_several_servers_wait_as_erlangs_formula_says_and_no_routing_beats_one_queue() -> None:
    """One shared queue is M/M/c, random routing is M/M/1 each, the shortest queue lies between."""
    count, use = 4, 0.7
    made = tables(count, light=Profile("light", (1,), (1.0,), (1.0,)), score_seconds=0.0)
    trace = poisson(use * count, 9000, seed=1)
    waits = {}
    routings: tuple[Routing, ...] = ("shared", "shortest", "random")
    for routing in routings:
        service = Service(latency=1e9, drop_after=None, routing=routing)
        waits[routing] = simulate(made, service, trace, POLICIES["light"](made, service, trace)).light_wait
    load = use * count
    empty = sum(load**k / math.factorial(k) for k in range(count))
    last = load**count / math.factorial(count) / (1 - use)
    assert waits["shared"] == pytest.approx(last / (empty + last) / (count - load), rel=0.08)
    assert waits["random"] == pytest.approx(use / (1 - use), rel=0.12)
    assert waits["shared"] < waits["shortest"] < 0.5 * waits["random"]


def checked(run: Simulation) -> None:
    """Every request is settled once, after it came, in the order of its stages."""
    kinds = np.array(run._kind)
    finish = np.array(run._finish)
    assert set(kinds.tolist()) <= {LIGHT, HEAVY, FALLBACK, DROPPED}
    assert run._open == 0
    found = run.outcome()
    assert found.light + found.heavy + found.fallback + found.dropped == found.requests == len(run.trace)
    assert np.isfinite(finish).all()
    assert (finish >= run.trace.arrivals - 1e-9).all()
    light, heavy, deferred = np.array(run._begun[0]), np.array(run._begun[1]), np.array(run._deferred)
    assert not np.isnan(light[kinds == LIGHT]).any()
    assert not np.isnan(heavy[kinds == HEAVY]).any()
    assert not np.isnan(deferred[kinds == FALLBACK]).any()
    both = ~np.isnan(light) & ~np.isnan(heavy)
    assert (heavy[both] >= deferred[both] - 1e-9).all()
    assert (deferred[both] >= light[both] - 1e-9).all()
    assert found.timeline.arrivals.sum() == found.requests
    assert found.timeline.late.sum() == round(found.late.value * found.requests)
    assert (found.timeline.light_queue >= 0).all()
    assert (found.timeline.heavy_queue >= 0).all()


def test_no_request_is_lost_or_answered_twice_whatever_happens() -> None:
    draw = np.random.default_rng(4)
    kinds: set[int] = set()
    retried = 0
    for number in range(54):
        workers = int(draw.integers(1, 9))
        made = tables(
            workers,
            spread=float(draw.choice([0.0, 0.4])),
            load_seconds=float(draw.choice([0.0, 3.0])),
            seed=number,
        )
        if number % 3 == 0:
            other = replace(made.devices[0], name="slow", light=made.devices[0].light.scaled(2))
            made = replace(made, devices=(made.devices[0], other))
        losses = tuple(
            WorkerLoss(
                float(draw.uniform(0, 25)),
                int(draw.integers(workers)),
                float(draw.choice([30.0, 12.0])) or None,
            )
            for _ in range(int(draw.integers(0, 4)))
        )
        service = Service(
            latency=float(draw.uniform(0.5, 5)),
            routing=("shortest", "random", "shared")[number // 9 % 3],
            batch_wait=float(draw.choice([0.0, 0.2])),
            drop_after=None if draw.random() < 0.3 else 1.0,
            queue_limit=int(draw.integers(1, 20)) if draw.random() < 0.3 else None,
            interval=float(draw.choice([1.0, 5.0])),
            losses=losses,
        )
        trace = bursts(3.0 * workers, 12.0 * workers, 30, seed=number, every=8, length=3)
        name = list(POLICIES)[number % len(POLICIES)]
        run = Simulation(made, service, trace, POLICIES[name](made, service, trace), seed=number)
        run.advance()
        checked(run)
        kinds |= set(run._kind)
        retried += run.retried
    assert kinds == {LIGHT, HEAVY, FALLBACK, DROPPED}
    assert retried > 0


def test_the_same_seed_gives_the_same_outcome_and_another_one_does_not() -> None:
    made = tables(6, spread=0.3)
    trace = poisson(10, 60)
    service = Service(latency=3, routing="random")

    def found(seed: int) -> dict[str, object]:
        return simulate(made, service, trace, POLICIES["ours"](made, service, trace), seed=seed).to_json()

    first = found(1)
    assert found(1) == first
    assert found(2) != first


def test_advancing_by_pieces_ends_where_one_run_ends() -> None:
    made, service, trace = tables(4), Service(latency=3), poisson(8, 40)
    whole = simulate(made, service, trace, POLICIES["ours"](made, service, trace))
    run = Simulation(made, service, trace, POLICIES["ours"](made, service, trace))
    pieces, last = 0, 0.0
    while not run.advance(50):
        pieces += 1
        assert run.progress >= last
        last = run.progress
        with pytest.raises(PlanError, match="not at its end"):
            run.outcome()
    assert pieces > 5
    assert run.outcome().to_json() == whole.to_json()


def test_the_share_deferred_is_the_share_of_scores_below_the_threshold() -> None:
    made = tables(40, prompts=300)
    choices = made.choices()
    at = 90
    decision = Decision(float(choices.thresholds[at]), (Allocation("worker", 10, 30, 8, 4),))
    service = Service(latency=1e6)
    found = simulate(made, service, poisson(20, 400), Fixed(decision))
    assert found.deferred == pytest.approx(choices.shares[at], abs=0.02)
    assert found.quality is not None
    assert found.quality.low <= choices.quality[at] <= found.quality.high
    assert found.quality.value == pytest.approx(choices.quality[at], abs=0.02)
    assert found.dropped == found.fallback == 0


def test_a_table_by_share_is_read_at_the_share_that_was_served_heavy() -> None:
    made = replace(tables(40), quality=with_dip())
    choices = made.choices()
    service = Service(latency=1e6)
    decision = Decision(float(choices.thresholds[120]), (Allocation("worker", 10, 30, 8, 4),))
    found = simulate(made, service, poisson(20, 200), Fixed(decision))
    assert found.quality is not None
    assert found.quality.value == pytest.approx(float(with_dip().at_share(found.heavy / found.answered)))
    blind = simulate(made, service, poisson(20, 50), Fixed(replace(decision, direct=0.5, judged=False)))
    assert blind.quality is None
    assert "not at random" in blind.quality_note


def test_the_light_picture_is_handed_back_in_time_where_heavy_would_be_late() -> None:
    made = tables(3)
    decision = Decision(0.9, (Allocation("worker", 1, 2, 8, 2),))
    service, trace = Service(latency=2.5), poisson(6, 120)
    with_it = simulate(made, service, trace, Fixed(decision, fallback=True))
    without = simulate(made, service, trace, Fixed(decision))
    assert with_it.fallback > 100
    assert with_it.late.value < 0.01 < 0.3 < without.late.value
    assert with_it.heavy > 0.8 * without.heavy - without.dropped
    assert with_it.latency["most"] <= 2.5 + 1e-6


def test_lost_workers_are_missed_and_their_work_is_done_by_others() -> None:
    made = tables(8)
    trace = poisson(9, 120)
    quiet = Service(latency=3)
    losses = tuple(WorkerLoss(30.0, at, 90.0 if at % 2 else None) for at in range(5))
    service = replace(quiet, losses=losses)
    whole = simulate(made, quiet, trace, POLICIES["ours"](made, quiet, trace))
    found = simulate(made, service, trace, POLICIES["ours"](made, service, trace))
    assert found.retried > 0
    assert found.light + found.heavy + found.fallback + found.dropped == len(trace)
    assert found.deferred < whole.deferred
    assert min(step.light_workers + step.heavy_workers for step in found.steps if 40 < step.time < 85) == 3
    assert found.steps[-1].light_workers + found.steps[-1].heavy_workers == 5


def test_losing_everyone_for_good_still_ends_with_every_request_settled() -> None:
    made, trace = tables(2), poisson(4, 30)
    service = Service(latency=2, losses=(WorkerLoss(5, 0), WorkerLoss(5, 1)))
    for name in ("ours", "diffserve", "heavy"):
        run = Simulation(made, service, trace, POLICIES[name](made, service, trace))
        run.advance()
        checked(run)
        assert run.outcome().dropped > 50


def test_a_batch_waits_to_be_filled_no_longer_than_it_may() -> None:
    made = tables(1, light=Profile("light", (1, 4), (0.1, 0.1)), score_seconds=0.0)
    trace = Trace("three", np.array([0.0, 0.05, 10.0]))
    service = Service(latency=100, batch_wait=0.5)
    found = Fixed(Decision(-np.inf, (Allocation("worker", 1, 0, 4, 0),), judged=False))
    run = Simulation(made, service, trace, found)
    run.advance()
    np.testing.assert_allclose(run._finish, [0.6, 0.6, 10.6], atol=1e-9)
    at_once = Simulation(made, replace(service, batch_wait=0.0), trace, found)
    at_once.advance()
    np.testing.assert_allclose(at_once._finish, [0.1, 0.2, 10.1], atol=1e-9)


def test_a_swap_takes_its_time_and_moves_no_more_workers_than_asked() -> None:
    class Flip(Fixed):
        def decide(self, seen: Observation) -> Decision:
            light, heavy = (6, 2) if seen.time < 10 else (3, 5)
            return replace(self.decision, allocations=(Allocation("worker", light, heavy, 4, 2),))

    made = tables(8, load_seconds=4.0)
    trace = poisson(4, 40)
    run = Simulation(made, Service(latency=50), trace, Flip(Decision(0.5, ())))
    seen = []
    while not run.advance(1):
        ready = len(run.fleet.pools[LIGHT]) + len(run.fleet.pools[HEAVY])
        seen.append((run.now, ready))
    checked(run)
    away = [now for now, ready in seen if ready == 5]
    assert away
    assert min(away) == pytest.approx(10, abs=1.1)
    assert 3.0 <= max(away) - min(away) <= 4.5
    assert {ready for _, ready in seen} <= {5, 6, 7, 8}


def test_clippers_batches_grow_by_one_and_shrink_by_a_tenth() -> None:
    made = tables(1, light=profile("light", 0.2, 0.05, (1, 2, 4, 8, 16)), score_seconds=0.0)
    service = Service(latency=0.6, drop_after=None)
    trace = poisson(12, 60)
    run = Simulation(made, service, trace, POLICIES["clipper-light"](made, service, trace))
    caps: list[float] = []
    while not run.advance(1):
        if not caps or run.fleet.workers[0].cap != caps[-1]:
            caps.append(run.fleet.workers[0].cap)
    assert caps[:3] == [1.0, 2.0, 3.0]
    steps = {round(after / before, 6) for before, after in pairwise(caps) if 1 < after < before}
    assert steps == {0.9}


@pytest.mark.parametrize("name", list(POLICIES))
def test_a_long_trace_takes_under_a_second_of_computing(name: str) -> None:
    made = tables(16)
    trace = diurnal(7, 32, 350)
    assert len(trace) > 6600
    service = Service(latency=5)
    start = time.thread_time()
    simulate(made, service, trace, POLICIES[name](made, service, trace))
    assert time.thread_time() - start < 1.0


def test_ours_is_late_least_among_those_that_defer_and_loses_no_quality_to_diffserve() -> None:
    made, service = tables(8), Service(latency=4)
    for trace in (poisson(7, 200), diurnal(2, 12, 200), bursts(4, 14, 200)):
        found = {
            name: simulate(made, service, trace, POLICIES[name](made, service, trace))
            for name in ("diffserve", "diffserve-shortest", "blind", "static", "ours")
        }
        late = {name: one.late.value for name, one in found.items()}
        assert late["ours"] == min(late.values())
        assert late["ours"] < 0.01
        ours, theirs = found["ours"].quality, found["diffserve"].quality
        assert ours is not None
        assert theirs is not None
        assert ours.value > theirs.value - 0.01


def test_a_fleet_without_workers_and_a_worker_that_is_not_there_are_refused() -> None:
    made, trace = tables(2), poisson(2, 10)
    with pytest.raises(PlanError, match="no workers"):
        simulate(tables(0), Service(latency=1), trace, Fixed(Decision(0.5, ())))
    service = Service(latency=1, losses=(WorkerLoss(1, 7),))
    with pytest.raises(PlanError, match="no worker 7"):
        simulate(made, service, trace, POLICIES["light"](made, service, trace))


@pytest.mark.parametrize(
    "wrong",
    [
        {"latency": 0.0},
        {"latency": math.nan},
        {"interval": -1.0},
        {"routing": "best"},
        {"queue_limit": 0},
        {"batch_wait": -1.0},
        {"drop_after": 0.0},
    ],
)
def test_services_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=r"\.$"):
        replace(Service(latency=1.0), **wrong)


def test_wilsons_interval_is_the_published_one() -> None:
    found = wilson(10, 100)
    assert [found.low, found.high] == pytest.approx([0.0552, 0.1744], abs=1e-4)
    assert wilson(0, 50).low == 0
    assert wilson(0, 50).high == pytest.approx(0.0714, abs=1e-4)


@pytest.mark.parametrize("load_seconds", [0.0, 4.0])
def test_devices_of_two_kinds_serve_one_trace(load_seconds: float) -> None:
    made = tables(4, load_seconds=load_seconds)
    slow = Device("slow", 6, made.devices[0].light.scaled(3), made.devices[0].heavy.scaled(3))
    both: Tables = replace(made, devices=(made.devices[0], slow))
    service, trace = Service(latency=6), poisson(6, 120)
    run = Simulation(both, service, trace, POLICIES["ours"](both, service, trace))
    run.advance()
    checked(run)
    found = run.outcome()
    assert found.late.value < 0.02
    alone = simulate(made, service, trace, POLICIES["ours"](made, service, trace))
    assert found.heavy > alone.heavy


def test_workers_that_take_long_to_load_are_seldom_moved() -> None:
    made = tables(12, load_seconds=10.0)
    service, trace = Service(latency=4), bursts(3, 14, 240)
    found = {
        name: simulate(made, service, trace, POLICIES[name](made, service, trace))
        for name in ("ours", "diffserve-shortest")
    }
    moves = {
        name: sum(abs(after.light_workers - before.light_workers) for before, after in pairwise(one.steps))
        for name, one in found.items()
    }
    assert moves["ours"] <= 6
    assert found["ours"].late.value < 0.02
    assert found["ours"].late.value <= found["diffserve-shortest"].late.value
