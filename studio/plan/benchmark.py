"""Every policy on three traces, and the planner's time: the tables of `docs/benchmarks`.

pareto-studio cascade benchmark --profiles P --confidences C --quality Q --workers 16 --slo 1000
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from studio.plan.outcome import Outcome
from studio.plan.planner import plan
from studio.plan.policies import POLICIES
from studio.plan.sentences import quality, seconds
from studio.plan.service import Service
from studio.plan.simulator import simulate
from studio.plan.situation import GOALS, Goal, Situation, stage
from studio.plan.tables import Tables
from studio.plan.traces import Trace, bursts, diurnal, poisson

LENGTH: Final = 350.0
"""Seconds of a trace."""
SIZES: Final = (10, 1_000, 100_000)
"""Workers that the planner is timed for."""
KINDS: Final = (1, 2, 3)
_REPEATS: Final = 101


def markdown(
    tables: Tables, *, latency: float | None = None, rate: float | None = None, seed: int = 0
) -> tuple[str, dict[str, Any]]:
    """The tables as text, and as a document.

    `latency` defaults to six heavy pictures, `rate` to a tenth more than heavy
    alone could serve: neither everything nor nothing can be deferred.
    """
    limit = latency or float(f"{6 * max(one.heavy.at(1, 0.9) for one in tables.devices):.2g}")
    mean = rate or float(f"{1.1 * _heavy_capacity(tables, limit):.3g}")
    service = Service(latency=limit)
    traces = three_traces(mean, seed)
    lines = [_inputs(tables, service, mean), ""]
    runs: dict[str, list[Outcome]] = {}
    for trace in traces:
        found = side_by_side(tables, service, trace, tuple(POLICIES), seed)
        runs[trace.name] = found
        slowest = max(one.seconds_computed for one in found)
        lines += [
            f"## {trace.name}",
            "",
            f"{len(trace):,} requests; no policy took more than {slowest:.2f} s.",
        ]
        lines += ["", *rows(found), ""]
    timings = planner_timings(tables, limit, mean)
    lines += ["## Planner", "", "| Workers | Kinds of device | Goal | Median of a plan | Slowest |"]
    lines += ["|---|---|---|---|---|"]
    lines += [
        f"| {one.workers:,} | {one.kinds} | {GOALS[one.goal]} | {one.median * 1e3:.2f} ms | "
        f"{one.most * 1e3:.2f} ms |"
        for one in timings
    ]
    document = {
        "latency": limit,
        "rate": mean,
        "policies": {name: [one.to_json(timeline=False) for one in found] for name, found in runs.items()},
        "planner": [asdict(one) for one in timings],
    }
    return "\n".join(lines), document


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of a plan, over `_REPEATS`."""

    workers: int
    kinds: int
    """Of device: the tables' first one, and slower ones after it."""
    goal: Goal
    median: float
    most: float


def planner_timings(tables: Tables, latency: float, rate: float) -> list[Timing]:
    """Every number of workers with each number of kinds; least cost with several."""
    cases: list[tuple[int, Goal]] = [(kinds, "loss") for kinds in KINDS]
    cases += [(kinds, "cost") for kinds in KINDS[1:]]
    return [
        planning_seconds(tables, latency, rate, size, kinds, goal) for kinds, goal in cases for size in SIZES
    ]


def planning_seconds(
    tables: Tables, latency: float, rate: float, workers: int, kinds: int = 1, goal: Goal = "loss"
) -> Timing:
    """Plans with the load growing with the workers; a further kind is half as slow again as the one before.

    `cost` may lose half of what light alone loses.
    """
    first = tables.devices[0]
    devices = tuple(
        replace(
            first,
            name=f"kind {at + 1}",
            workers=workers // kinds + (workers % kinds if at == 0 else 0),
            light=first.light.scaled(1.25**at),
            heavy=first.heavy.scaled(1.5**at),
        )
        for at in range(kinds)
    )
    total = max(1, sum(one.workers for one in tables.devices))
    choices = tables.choices()
    share = 0.8 if goal == "loss" else 0.4
    situation = Situation(
        devices,
        choices,
        demand=share / kinds * rate * workers / total,
        latency=latency,
        goal=goal,
        max_loss=None if goal == "loss" else float(choices.loss[0]) / 2,
    )
    plan(situation)
    taken = []
    for _ in range(_REPEATS if goal == "loss" else _REPEATS // 5):
        start = time.perf_counter()
        plan(situation)
        taken.append(time.perf_counter() - start)
    return Timing(workers, kinds, goal, statistics.median(taken), max(taken))


def _heavy_capacity(tables: Tables, latency: float) -> float:
    total = 0.0
    for device in tables.devices:
        rows = stage(device, True, 0.9)
        quick = rows.throughput[rows.seconds <= latency / 2]
        total += device.workers * float(quick.max() if quick.size else rows.throughput[0])
    return total


def three_traces(mean: float, seed: int = 0) -> tuple[Trace, Trace, Trace]:
    """A steady load, a day, and bursts, all of about the same mean in requests per second."""
    return (
        poisson(mean, LENGTH, seed),
        diurnal(0.2 * mean, 1.8 * mean, LENGTH, seed),
        bursts(0.8 * mean, 2 * mean, LENGTH, seed),
    )


def side_by_side(
    tables: Tables, service: Service, trace: Trace, names: Sequence[str], seed: int = 0
) -> list[Outcome]:
    """The named policies under one trace, with the seconds that each took to compute."""
    found = []
    for name in names:
        start = time.perf_counter()
        one = simulate(tables, service, trace, POLICIES[name](tables, service, trace), seed=seed)
        found.append(replace(one, seconds_computed=time.perf_counter() - start))
    return found


def _inputs(tables: Tables, service: Service, rate: float) -> str:
    devices = "; ".join(
        f"{one.workers} x {one.name}: light {one.light.name} {seconds(one.light.at(1))}, heavy "
        f"{one.heavy.name} {seconds(one.heavy.at(1))} for one picture, "
        f"score {seconds(one.discriminator_seconds(1))}"
        for one in tables.devices
    )
    found = tables.choices(3)
    light, heavy = (quality(found.metric, value) for value in (found.quality[0], found.quality[-1]))
    return (
        f"Inputs: {devices}. {tables.confidences.size} confidences; "
        f"{found.metric} {light} for light, {heavy} for heavy. Objective {seconds(service.latency)}, mean "
        f"load about {rate:g} requests/s, plans each {service.interval:g} s, head-room {service.headroom:g}; "
        "requests are dropped, and count as late, where the objective has passed before they are begun."
    )


def rows(found: Sequence[Outcome]) -> list[str]:
    """A Markdown table, a line for each policy."""
    metric = found[0].metric
    lines = [
        f"| Policy | Late | {metric} | Deferred | Handed back | Median | 99 % |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found:
        worth = "no table" if one.quality is None else quality(metric, one.quality.value)
        if one.quality is not None and one.quality.low == one.quality.low:
            worth += f" ({quality(metric, one.quality.low)} to {quality(metric, one.quality.high)})"
        lines.append(
            f"| {one.title} | {one.late.value:.2%} ({one.late.low:.2%} to {one.late.high:.2%}) | {worth} | "
            f"{one.deferred:.0%} | {one.fallback} | {seconds(one.latency['p50'])} | "
            f"{seconds(one.latency['p99'])} |"
        )
    return lines
