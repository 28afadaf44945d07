"""The simulator says what the real server does: the same arrivals, scores and times of a batch.

Stub engines sleep for a known time.  What pipes and a busy machine add to a
stage is measured with it (mean and spread by batch size, from the answers),
as it is for a user's own cascade; simulated is what batches form and how long
requests wait.  Compared are the server's own times, from arrival to answer.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.package.serving.values import Tuning
from studio.plan.control import Decision, Observation, Routing
from studio.plan.profile import Device, Profile
from studio.plan.quality import QualityByPrompt
from studio.plan.service import Service
from studio.plan.simulator import Simulation
from studio.plan.situation import Allocation
from studio.plan.tables import Tables
from studio.plan.traces import Trace, poisson
from tests.engines.serving_client import ask, serving, stub

Floats = NDArray[np.float64]
THRESHOLD = 0.4
LIGHT, HEAVY = (0.04, 0.02), (0.1, 0.1)
"""Seconds of a batch, and more for every picture in it."""
BATCHES = (4, 2)
WORKERS = (1, 2)
"""Few enough for both stages to be in use for three quarters of the time: waits are what is simulated."""


@dataclass(frozen=True)
class Seen:
    """Requests as the server, or the simulator, had them; arrays (n,)."""

    total: Floats
    heavy: NDArray[np.bool_]
    light_wait: Floats
    heavy_wait: Floats
    """NaN where heavy was not asked."""


Stages = tuple[dict[int, Floats], dict[int, Floats]]
"""Seconds of a stage in many batches, by batch size: light, heavy."""


class Held:
    """A policy that never changes its mind."""

    name = title = "held"
    routing: Routing | None = None
    fallback = False
    interval: float | None = None

    def __init__(self, decision: Decision) -> None:
        self.decision = decision

    def decide(self, seen: Observation) -> Decision:
        return self.decision


async def served(trace: Trace, scores: Floats) -> tuple[Seen, Stages]:
    """Send the trace to a server on loopback, in real time."""
    said: list[dict[str, float]] = [{} for _ in range(len(trace))]
    tunings = [Tuning(batch, 0.0, count) for batch, count in zip(BATCHES, WORKERS, strict=True)]
    async with serving(
        stub(base=LIGHT[0], each=LIGHT[1], score=True),
        stub(base=HEAVY[0], each=HEAVY[1]),
        threshold=THRESHOLD,
        light_tuning=tunings[0],
        heavy_tuning=tunings[1],
        queue=4096,
    ) as server:
        service = server.api.service
        while (load := service.load()).light_workers < WORKERS[0] or load.heavy_workers < WORKERS[1]:
            await asyncio.sleep(0.05)

        async def one(at: int, begin: float) -> None:
            await asyncio.sleep(max(0.0, begin + trace.arrivals[at] - time.perf_counter()))
            reply = await ask(server, f"{scores[at]:.6f}", deadline_ms=60_000)
            assert reply.status == 200, reply.sentence
            said[at] = reply.said["seconds"]

        begin = time.perf_counter() + 0.2
        await asyncio.gather(*(one(at, begin) for at in range(len(trace))))

    def column(name: str) -> Floats:
        return np.array([one.get(name, np.nan) for one in said])

    seen = Seen(column("total"), ~np.isnan(column("heavy")), column("light_queue"), column("heavy_queue"))
    return seen, stages(seen, column("light"), column("heavy"))


def stages(seen: Seen, light: Floats, heavy: Floats) -> Stages:
    """What each stage took, pipes included, by the batch size that the drawing time tells."""
    drawn = [
        np.clip(np.round((times - base) / each), 1, most)
        for times, (base, each), most in ((light, LIGHT, BATCHES[0]), (heavy, HEAVY, BATCHES[1]))
    ]
    first = seen.total - seen.light_wait
    pipe = float(np.mean((first - light)[~seen.heavy]))
    second = first - light - pipe - seen.heavy_wait
    return (
        {size: first[~seen.heavy & (drawn[0] == size)] for size in range(1, BATCHES[0] + 1)},
        {size: second[seen.heavy & (drawn[1] == size)] for size in range(1, BATCHES[1] + 1)},
    )


def simulated(trace: Trace, scores: Floats, times: Stages) -> Seen:
    """The same requests in the simulator."""

    def profile(name: str, found: dict[int, Floats]) -> Profile:
        known = {size: values for size, values in found.items() if values.size >= 5}
        return Profile.measured(
            name,
            {size: float(values.mean()) for size, values in known.items()},
            std={size: float(values.std()) for size, values in known.items()},
        )

    device = Device("process", sum(WORKERS), profile("light", times[0]), profile("heavy", times[1]))
    ones = np.ones(len(trace))
    made = Tables((device,), scores, QualityByPrompt("none", ones, ones))
    numbered = Trace(trace.name, trace.arrivals, np.arange(len(trace)))
    decision = Decision(THRESHOLD, (Allocation("process", *WORKERS, *BATCHES),))
    service = Service(latency=60.0, routing="shared", drop_after=None)
    run = Simulation(made, service, numbered, Held(decision))
    run.advance()
    light, heavy = (np.array(begun) for begun in run._begun)
    return Seen(
        np.array(run._finish) - trace.arrivals,
        np.array(run._kind) == 1,
        light - trace.arrivals,
        heavy - np.array(run._deferred),
    )


def interval(values: Floats, statistic: str, blocks: int = 40) -> tuple[float, float]:
    """95 % by a bootstrap over blocks of neighbours: those wait for each other."""
    draw = np.random.default_rng(0)
    parts = np.array_split(values, blocks)
    found = []
    for _ in range(600):
        drawn = np.concatenate([parts[at] for at in draw.integers(blocks, size=blocks)])
        found.append(drawn.mean() if statistic == "mean" else np.quantile(drawn, float(statistic)))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.slow
def test_two_thousand_requests_take_the_server_as_long_as_the_simulator_says() -> None:
    trace = poisson(26, 80, seed=2)
    assert len(trace) >= 2000
    scores = np.round(np.random.default_rng(1).random(len(trace)), 6)
    real, times = asyncio.run(served(trace, scores))
    told = simulated(trace, scores, times)
    assert not np.isnan(real.total).any()
    assert (real.heavy == (scores < THRESHOLD)).all()
    assert (told.heavy == real.heavy).all()
    rows = []
    for name, seen, mine, part in (
        ("light, to the answer", real.total, told.total, ~real.heavy),
        ("heavy, to the answer", real.total, told.total, real.heavy),
        ("light, in the queue", real.light_wait, told.light_wait, np.ones(len(trace), dtype=bool)),
        ("heavy, in the queue", real.heavy_wait, told.heavy_wait, real.heavy),
    ):
        for statistic in ("mean", "0.9"):
            first, second = interval(seen[part], statistic), interval(mine[part], statistic)
            rows.append((name, statistic, first, second, first[0] <= second[1] and second[0] <= first[1]))
            print(
                f"{name}, {statistic}: server {first[0]:.4f} to {first[1]:.4f} s, "
                f"simulator {second[0]:.4f} to {second[1]:.4f} s"
            )
    assert all(row[-1] for row in rows)
