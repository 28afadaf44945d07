"""Re-plans from measured load, again and again.

The planner is given from outside (`studio.plan.replan` travels with cascades):
a function from load to settings, both plain values, so that this server, a
cluster and the simulator can share it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from engines.package.serving.api import Api
from engines.package.serving.metrics import Metrics

EVERY: Final = 5.0
"""Seconds between two plans, as DiffServe has it."""

Planner = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""From `{"load": Load, "settings": Settings}` to what shall change of the settings; `note` says why."""


class MakePlanner(Protocol):
    """What a package's `run.py` hands to the server."""

    def __call__(self, facts: Mapping[str, Any], objective: float) -> Planner:
        """A planner from the manifest's facts, for a latency objective in seconds."""
        ...


class Controller:
    """Keeps a service at its plan."""

    def __init__(self, api: Api, planner: Planner, metrics: Metrics, every: float = EVERY) -> None:
        self._api, self._planner, self._every, self._metrics = api, planner, every, metrics
        metrics.counter("plans_total", "Plans made, by outcome")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._every)
            self.step()

    def step(self) -> None:
        """One plan: measured load in, settings out.  What the planner cannot do leaves things as they are."""
        service = self._api.service
        situation = {"load": service.load().to_json(), "settings": service.settings.to_json()}
        try:
            wanted = dict(self._planner(situation))
            note = str(wanted.pop("note", ""))
            if self._api.held:
                wanted.pop("threshold", None)
            settings = service.settings.changed(wanted)
        except Exception as error:  # noqa: BLE001 - a plan that fails must not stop a server that works
            self._metrics.add("plans_total", outcome="failed")
            self._api.note = f"No new plan ({' '.join(str(error).split())[:300]}); the last one holds."
            return
        changed = settings != service.settings
        if changed:
            service.apply(settings)
        self._metrics.add("plans_total", outcome="changed" if changed else "kept")
        self._api.note = note
