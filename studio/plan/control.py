"""What a policy sees of a running cascade, and what it may decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from studio.plan.situation import Allocation

Routing = Literal["shortest", "random", "shared"]
"""To the worker with the shortest queue, to any by chance, or one queue for all that hold a model."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The state at a re-planning."""

    time: float
    """Seconds since the trace began."""
    demand: float
    """Requests per second, exponentially weighted."""
    light_wait: float
    """Queue length over arrival rate (Little's law), in seconds, exponentially weighted."""
    heavy_wait: float
    light_queue: int
    heavy_queue: int
    alive: tuple[int, ...]
    """Workers by device."""
    loaded: tuple[tuple[int, int], ...] | None
    """Workers that hold light and heavy, by device; `None` before the first plan."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done until the next one."""

    threshold: float
    allocations: tuple[Allocation, ...]
    """By device, in the order of the tables."""
    direct: float = 0.0
    """Share of requests that goes to heavy at once, chosen blindly."""
    judged: bool = True
    """The discriminator scores light pictures; else each is an answer."""
    adaptive: bool = False
    """Batch sizes grow by one and shrink by a tenth, as Clipper has it, up to the allocation's."""


class Policy(Protocol):
    """Something that decides; made anew for each simulation."""

    name: str
    title: str
    routing: Routing | None
    """Its own way to choose a worker; `None`: that of the service."""
    fallback: bool
    """Hand back the light picture when heavy would be late."""
    interval: float | None
    """Its own seconds between plans; `None`: those of the service."""

    def decide(self, seen: Observation) -> Decision: ...
