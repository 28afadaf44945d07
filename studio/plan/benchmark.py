"""Every policy on three traces, and the planner's time: the tables of `docs/benchmarks`.

pareto-studio cascade benchmark --profiles P --confidences C --quality Q --workers 16 --slo 1000
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from studio.plan.outcome import Outcome
from studio.plan.planner import plan
from studio.plan.policies import POLICIES
from studio.plan.sentences import quality, seconds
from studio.plan.service import Service
from studio.plan.simulator import simulate
from studio.plan.situation import Situation, stage
from studio.plan.tables import Tables
from studio.plan.traces import Trace, bursts, diurnal, poisson

LENGTH: Final = 350.0
"""Seconds of a trace."""
SIZES: Final = (10, 1_000, 100_000)
"""Workers that the planner is timed for."""
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
    timings = {size: planning_seconds(tables, limit, mean, size) for size in SIZES}
    lines += ["## Planner", "", "| Workers | Median of a plan | Slowest |", "|---|---|---|"]
    lines += [
        f"| {size:,} | {middle * 1e3:.2f} ms | {most * 1e3:.2f} ms |"
        for size, (middle, most) in timings.items()
    ]
    document = {
        "latency": limit,
        "rate": mean,
        "policies": {name: [one.to_json(timeline=False) for one in found] for name, found in runs.items()},
        "planner": {str(size): {"median": middle, "most": most} for size, (middle, most) in timings.items()},
    }
    return "\n".join(lines), document


def planning_seconds(tables: Tables, latency: float, rate: float, workers: int) -> tuple[float, float]:
    """Median and slowest of 101 plans for the first kind of device, the load growing with the workers."""
    device = replace(tables.devices[0], workers=workers)
    total = max(1, sum(one.workers for one in tables.devices))
    situation = Situation((device,), tables.choices(), demand=0.8 * rate * workers / total, latency=latency)
    plan(situation)
    taken = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        plan(situation)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken), max(taken)


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
