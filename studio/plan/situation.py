"""What a plan must hold for: devices, load, latency objective; and what a plan is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from studio.errors import PlanError
from studio.plan.profile import Device
from studio.plan.quality import Choices

Floats = NDArray[np.float64]

Goal = Literal["loss", "threshold", "workers", "cost"]
GOALS: Final[dict[Goal, str]] = {
    "loss": "least measured quality loss",
    "threshold": "largest threshold (DiffServe)",
    "workers": "fewest workers for a quality",
    "cost": "least cost for a quality",
}
HEADROOM: Final = 1.2
"""As DiffServe's artifact has it; its paper says 1.05."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that decides a plan.

    Raises:
        PlanError: a number that cannot be.
    """

    devices: tuple[Device, ...]
    choices: Choices
    demand: float
    """Requests per second."""
    latency: float
    """The objective in seconds, from arrival to answer, for a deferred request."""
    goal: Goal = "loss"
    max_loss: float | None = None
    """The most that may be lost against heavy; the goals `workers` and `cost` need it."""
    headroom: float = HEADROOM
    """Capacity over demand."""
    tail: float | None = 0.9
    """Quantile of the batch times and waits in the latency row; `None`: means."""
    batch_wait: float = 0.0
    """Seconds a batch may wait to be filled."""
    light_wait: float | None = None
    """Seconds in the light queue as measured; `None`: estimated from the head-room."""
    heavy_wait: float | None = None
    light_backlog: float = 0.0
    """Requests per second to be drained besides the demand."""
    heavy_backlog: float = 0.0
    now: tuple[tuple[int, int], ...] | None = None
    """Workers that hold light and heavy now, by device; `None`: none is loaded, swaps cost nothing."""
    horizon: float = 60.0
    """Seconds the plan is to hold: a swap takes its load time out of them."""
    pinned: bool = False
    """No worker changes its model: threshold and batch sizes only."""

    def __post_init__(self) -> None:
        if not self.devices:
            raise PlanError("There is no device to plan for; give a profile.")
        for name, value, least in (
            ("The load", self.demand, 0.0),
            ("The latency objective", self.latency, 0.0),
            ("The horizon", self.horizon, 0.0),
        ):
            if not (math.isfinite(value) and value > least):
                raise PlanError(f"{name} must be a number above 0, not {value:g}.")
        if not (math.isfinite(self.headroom) and self.headroom >= 1):
            raise PlanError(f"The head-room must be 1 or more, not {self.headroom:g}.")
        if self.tail is not None and not 0.5 <= self.tail < 1:
            raise PlanError(f"The tail must be a quantile from 0.5 to below 1, not {self.tail:g}.")
        if self.goal not in GOALS:
            raise PlanError(f"There is no goal {self.goal}; choose one of {', '.join(GOALS)}.")
        if self.pinned and self.now is None:
            raise PlanError("Workers can only be kept where they are if it is known where they are.")
        if self.goal in ("workers", "cost") and self.max_loss is None:
            raise PlanError(f"The goal {self.goal} needs the largest quality loss that is allowed.")

    @property
    def workers(self) -> int:
        return sum(device.workers for device in self.devices)

    @property
    def needed(self) -> float:
        """Light images per second that must be possible."""
        return self.headroom * self.demand + self.light_backlog

    @property
    def needed_heavy(self) -> Floats:
        """Heavy images per second for each threshold, (k,)."""
        return self.headroom * self.demand * self.choices.shares + self.heavy_backlog

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """Thresholds whose loss may be planned for, (k,)."""
        if self.max_loss is not None:
            return self.choices.loss <= self.max_loss + 1e-12
        return np.ones(len(self.choices), dtype=bool)


@dataclass(frozen=True, slots=True)
class Allocation:
    """One kind of device in a plan."""

    device: str
    light_workers: int
    heavy_workers: int
    light_batch: int
    heavy_batch: int
    """Largest batch; 0 where no worker has the model."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A threshold, and who does what."""

    threshold: float
    share: float
    """Deferred, f(t)."""
    loss: float
    quality: float
    allocations: tuple[Allocation, ...]
    light_latency: float
    """Seconds until a kept light picture is answered, at the situation's tail."""
    heavy_latency: float
    """Seconds until a deferred one is; that of light where nothing is deferred."""
    light_use: float
    """Demand over capacity of the light workers."""
    heavy_use: float
    cost: float
    """Of the workers that have a model, per hour."""
    exact: bool = True
    """Shown to be the best; else at most a rounding of one worker from it."""

    @property
    def light_workers(self) -> int:
        return sum(one.light_workers for one in self.allocations)

    @property
    def heavy_workers(self) -> int:
        return sum(one.heavy_workers for one in self.allocations)


@dataclass(frozen=True, eq=False, slots=True)
class Stage:
    """One model on one kind of device; arrays over its measured batch sizes, (b,)."""

    sizes: NDArray[np.int64]
    seconds: Floats
    """At the tail, without any wait."""
    throughput: Floats
    """Images per second of one worker, from mean times."""
    load_seconds: float


@lru_cache(maxsize=256)
def stage(device: Device, heavy: bool, tail: float | None) -> Stage:
    """The rows of a stage; the light one holds the discriminator too."""
    profile = device.heavy if heavy else device.light
    sizes = np.array(profile.batches, dtype=np.int64)
    of = device.heavy.at if heavy else device.light_seconds
    seconds = np.array([of(int(size), tail) for size in sizes])
    mean = np.array([of(int(size)) for size in sizes])
    return Stage(sizes, seconds, sizes / mean, profile.load_seconds)


def latencies(situation: Situation, found: Stage, *, heavy: bool) -> Floats:
    """Seconds in a stage by batch size: filling, waiting, and the batch itself, (b,)."""
    measured = situation.heavy_wait if heavy else situation.light_wait
    filling = np.where(found.sizes > 1, situation.batch_wait, 0.0)
    if measured is not None:
        return found.seconds + filling + measured
    wait = wait_factor(situation.workers, 1 / situation.headroom, situation.tail)
    return found.seconds * (1 + wait) + filling


def wait_factor(workers: int, use: float, tail: float | None) -> float:
    """Seconds in the queue of a pool, for each second that a batch takes.

    Sakasegawa's approximation of the M/D/c queue, exact in the mean for one
    worker (M/D/1); the tail takes the wait of those who wait as exponential.
    The pool is the whole fleet, the use what the head-room allows: a bound on
    load, not a forecast, so that a plan can only get better with more workers.
    """
    if workers < 1 or use >= 1:
        return math.inf
    waiting: float = use ** (math.sqrt(2 * (workers + 1)) - 1)
    mean = 0.5 / (workers * (1 - use))
    if tail is None:
        return waiting * mean
    return max(0.0, mean * math.log(waiting / (1 - tail))) if waiting > 0 else 0.0


def gain(load_seconds: float, situation: Situation) -> float:
    """Share of the horizon in which a swapped worker serves."""
    return 1.0 if situation.now is None else max(0.0, 1 - load_seconds / situation.horizon)
