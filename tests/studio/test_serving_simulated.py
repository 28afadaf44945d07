"""The simulator foretells what the real server does: the same engines, the same load, the same prompts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.package.serving.pool import Pool
from engines.package.serving.values import Tuning
from studio.plan.control import Decision, Observation, Routing
from studio.plan.outcome import FALLBACK, HEAVY
from studio.plan.profile import Device, Profile
from studio.plan.quality import QualityByPrompt
from studio.plan.service import Service
from studio.plan.simulator import Simulation
from studio.plan.situation import Allocation
from studio.plan.tables import Tables
from studio.plan.traces import Trace, poisson
from tests.engines.serving_client import ask, serving, stub

Floats = NDArray[np.float64]

OBJECTIVE = 0.40
THRESHOLD = 0.4
BATCH, WAIT, WORKERS = 4, 0.01, 2
LIGHT, HEAVY_STUB = {"base": 0.04, "each": 0.012}, {"base": 0.06, "each": 0.03}
PARTS = 20
"""Stretches of the trace whose means give the intervals: requests near each other are not independent."""


@dataclass(frozen=True)
class Found:
    """Of each request: seconds until its answer, heavy or not, handed back light or not."""

    seconds: Floats
    heavy: Floats
    fallback: Floats

    def intervals(self) -> dict[str, tuple[float, float]]:
        names = {"mean seconds": self.seconds, "share heavy": self.heavy, "share handed back": self.fallback}
        found = {}
        for name, values in names.items():
            means = np.array([part.mean() for part in np.array_split(values, PARTS)])
            half = 2.093 * means.std(ddof=1) / np.sqrt(PARTS)  # Student's t, 19 degrees of freedom, 95 %
            found[name] = (float(means.mean() - half), float(means.mean() + half))
        tails = [np.quantile(part, 0.9) for part in np.array_split(self.seconds, PARTS)]
        half = 2.093 * np.std(tails, ddof=1) / np.sqrt(PARTS)
        found["90th percentile"] = (float(np.mean(tails) - half), float(np.mean(tails) + half))
        return found


class Fixed:
    """Two and two processes, batches of four."""

    name = title = "fixed"
    routing: Routing | None = None
    fallback = True
    interval: float | None = None

    def decide(self, seen: Observation) -> Decision:
        return Decision(THRESHOLD, (Allocation("stub", WORKERS, WORKERS, BATCH, BATCH),))


def simulated(scores: Floats, trace: Trace, light: Profile, heavy: Profile) -> Found:
    device = Device("stub", 2 * WORKERS, light, heavy)
    tables = Tables((device,), scores, QualityByPrompt("q", scores, np.ones_like(scores)))
    service = Service(latency=OBJECTIVE, routing="shared", batch_wait=WAIT, drop_after=None)
    ids = Trace(trace.name, trace.arrivals, np.arange(len(trace)))
    run = Simulation(tables, service, ids, Fixed())
    run.run()
    kinds = np.array(run._kind)
    assert (run.rows == np.arange(len(trace))).all()
    return Found(
        np.array(run._finish) - trace.arrivals,
        (kinds == HEAVY).astype(float),
        (kinds == FALLBACK).astype(float),
    )


async def served(scores: Floats, trace: Trace) -> tuple[Found, Profile, Profile]:
    """The same on the real server: every request at its time, by a connection of its own.

    Times are the server's own, from a request's arrival to its picture: the simulator knows no network.
    The profiles are what batches took while it served: a busy machine wakes sleepers late.
    """
    tuning = Tuning(BATCH, WAIT, WORKERS)
    async with serving(
        stub(**LIGHT, score=True),  # type: ignore[arg-type]
        stub(**HEAVY_STUB),  # type: ignore[arg-type]
        threshold=THRESHOLD,
        light_tuning=tuning,
        heavy_tuning=tuning,
        queue=10_000,
        deadline=OBJECTIVE,
    ) as server:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1)
        watches = [_watch(pool) for pool in server.pools]
        begun = loop.time() + 0.1

        async def one(at: float, score: float) -> tuple[float, float, float]:
            await asyncio.sleep(begun + at - loop.time())
            found = await ask(server, repr(float(score)))
            assert found.status == 200, found.body
            decision, reason = found.said["decision"], found.said["reason"]
            handed_back = decision == "light" and reason != "score"
            seconds = float(found.said["seconds"]["total"])
            return seconds, float(decision == "heavy"), float(handed_back)

        rows = await asyncio.gather(*(one(*both) for both in zip(trace.arrivals, scores, strict=True)))
        assert server.metrics.value("restarts_total", engine="light") == 0
    columns = np.array(rows).T
    light, heavy = (_profile(name, watch) for name, watch in zip(("light", "heavy"), watches, strict=True))
    return Found(*columns), light, heavy


def _watch(pool: Pool) -> dict[int, list[float]]:
    """Seconds of every batch of a pool by its size, from now on."""
    seen: dict[int, list[float]] = {}
    note = pool._note

    def watched(size: int, seconds: float) -> None:
        seen.setdefault(size, []).append(seconds)
        note(size, seconds)

    pool._note = watched  # type: ignore[method-assign]
    return seen


def _profile(name: str, seen: dict[int, list[float]]) -> Profile:
    often = {size: values for size, values in seen.items() if len(values) > 2}
    means = {size: float(np.mean(values)) for size, values in often.items()}
    return Profile.measured(
        name, means, std={size: float(np.std(values, ddof=1)) for size, values in often.items()}
    )


@pytest.mark.slow
def test_simulator_and_server_agree_on_two_thousand_requests() -> None:
    trace = poisson(40.0, 54.0, seed=3)
    assert len(trace) >= 2000
    scores = np.random.default_rng(5).random(len(trace))
    found, light, heavy = asyncio.run(served(scores, trace))
    foretold = simulated(scores, trace, light, heavy)
    real, said = found.intervals(), foretold.intervals()
    print(f"\n{len(trace)} requests, {trace.rate:.1f}/s; engines:\n{light}\n{heavy}")
    for name, (low, high) in real.items():
        print(
            f"{name:18} server {low:.4f} to {high:.4f}, simulator {said[name][0]:.4f} to {said[name][1]:.4f}"
        )
    assert found.heavy.mean() > 0.1  # the load exercises both models, and what is handed back
    for name, (low, high) in real.items():
        assert low <= said[name][1], name
        assert said[name][0] <= high, name
