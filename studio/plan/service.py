"""How a cascade is served: the rules that hold for every policy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from studio.errors import PlanError
from studio.plan.control import Routing
from studio.plan.situation import HEADROOM


@dataclass(frozen=True, slots=True)
class WorkerLoss:
    """A worker that is gone at a time, and with it what it did; back later or never."""

    at: float
    worker: int
    """Counted over all devices, from 0."""
    back: float | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """How the cascade is served.

    Raises:
        PlanError: a number that cannot be.
    """

    latency: float
    """The objective in seconds, from arrival to answer."""
    routing: Routing = "shortest"
    batch_wait: float = 0.0
    """Seconds that an idle worker waits for a batch to fill."""
    drop_after: float | None = 1.0
    """Requests older than this many objectives are dropped when their batch would begin; `None`: never."""
    queue_limit: int | None = None
    """Requests in one queue (a worker's, or the shared one); more are refused."""
    interval: float = 5.0
    """Seconds between two plans."""
    headroom: float = HEADROOM
    tail: float | None = 0.9
    losses: tuple[WorkerLoss, ...] = ()

    def __post_init__(self) -> None:
        for name, value in (("latency objective", self.latency), ("interval", self.interval)):
            if not (math.isfinite(value) and value > 0):
                raise PlanError(f"The {name} must be above 0 s, not {value:g}.")
        if not (math.isfinite(self.batch_wait) and self.batch_wait >= 0):
            raise PlanError(f"A batch cannot wait {self.batch_wait:g} s.")
        if self.routing not in ("shortest", "random", "shared"):
            raise PlanError(f"There is no routing {self.routing}; choose shortest, random or shared.")
        if self.drop_after is not None and not self.drop_after > 0:
            raise PlanError("Requests cannot be dropped before they come; give an age above 0.")
        if self.queue_limit is not None and self.queue_limit < 1:
            raise PlanError("A queue must hold at least one request.")
