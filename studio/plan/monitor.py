"""Demand and queues of a running cascade, smoothed as DiffServe's controller does it."""

from __future__ import annotations

from typing import Final

HEARTBEAT: Final = 1.0
"""Seconds between two looks."""
SMOOTHING: Final = 1 / (1 + 2.1)
"""Weight of the newest look: an exponential mean with centre of mass 2.1."""
_LEAST: Final = 1e-6


class Monitor:
    """Counts between two looks; `look` folds them into the means."""

    def __init__(self, demand: float) -> None:
        self.demand = demand
        """Requests per second."""
        self.arrived = 0
        self.deferred = 0
        self._heavy_rate = 0.0
        self._queues = [0.0, 0.0]

    def look(self, light_queue: int, heavy_queue: int) -> None:
        """Once a heartbeat, with the lengths of both queues."""
        self.demand += SMOOTHING * (self.arrived / HEARTBEAT - self.demand)
        self._heavy_rate += SMOOTHING * (self.deferred / HEARTBEAT - self._heavy_rate)
        for role, length in enumerate((light_queue, heavy_queue)):
            self._queues[role] += SMOOTHING * (length - self._queues[role])
        self.arrived = self.deferred = 0

    @property
    def waits(self) -> tuple[float, float]:
        """Seconds in the light and heavy queue, queue length over arrival rate (Little's law)."""
        rates = (self.demand, self._heavy_rate)
        light, heavy = (
            queue / max(rate, _LEAST) if queue > _LEAST else 0.0
            for queue, rate in zip(self._queues, rates, strict=True)
        )
        return light, heavy
