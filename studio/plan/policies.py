"""Ways to run a cascade, side by side: the published ones as their papers say, and ours.

Each sees the same observations and the same tables.  What a policy does that
the others do not (routing at random, handing back the light picture) is said
in its title.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from studio.errors import PlanError
from studio.plan.control import Decision, Observation, Policy, Routing
from studio.plan.planner import feasible
from studio.plan.profile import Device
from studio.plan.service import Service
from studio.plan.situation import Allocation, Goal, Plan, Situation, stage
from studio.plan.tables import Tables
from studio.plan.traces import Trace

_RESERVE: Final = 0.1
"""Light capacity beyond the head-room, as a share of the load: every request needs it, and it is cheap."""
_SETTLE: Final = 3
"""Swap times between two changes of workers."""
_WORTH: Final = 0.02
"""Share of the range of loss that a change of workers must gain."""
_PEAK: Final = 10.0
"""Seconds over which the busiest load is taken."""


class _Base:
    """What every policy knows."""

    name = ""
    title = ""
    routing: Routing | None = None
    fallback = False
    interval: float | None = None

    def __init__(self, tables: Tables, service: Service, trace: Trace) -> None:
        self.tables, self.service = tables, service
        self.choices = tables.choices()
        self.trace = trace

    def devices(self, seen: Observation) -> tuple[Device, ...]:
        return tuple(
            device if device.workers == alive else replace(device, workers=alive)
            for device, alive in zip(self.tables.devices, seen.alive, strict=True)
        )

    def quickest(self, device: Device, *, heavy: bool, share: float = 1.0) -> int:
        """Batch size with the most images per second within a share of the objective."""
        rows = stage(device, heavy, self.service.tail)
        within = np.flatnonzero(rows.seconds <= share * self.service.latency)
        at = within[np.argmax(rows.throughput[within])] if within.size else int(np.argmin(rows.seconds))
        return int(rows.sizes[at])

    def rest(self, seen: Observation, demand: float) -> Decision:
        """Where no plan meets the objective: answer all by light, what is left drains the heavy queue."""
        made = []
        devices = self.devices(seen)
        batches = [self.quickest(device, heavy=False) for device in devices]
        rates = [
            batch / device.light_seconds(batch) * device.workers
            for device, batch in zip(devices, batches, strict=True)
        ]
        use = min(1.0, self.service.headroom * demand / sum(rates)) if sum(rates) > 0 else 1.0
        for device, batch in zip(devices, batches, strict=True):
            light = min(device.workers, int(np.ceil(use * device.workers - 1e-9)))
            heavy = device.workers - light
            made.append(
                Allocation(device.name, light, heavy, batch, self.quickest(device, heavy=True, share=0.5))
            )
        return Decision(float(self.choices.thresholds[0]), tuple(made))


class AllLight(_Base):
    """Every request is answered by the light model; nothing is scored."""

    name, title = "light", "all light"

    def decide(self, seen: Observation) -> Decision:
        made = tuple(
            Allocation(one.name, one.workers, 0, self.quickest(one, heavy=False), 0)
            for one in self.devices(seen)
        )
        return Decision(-np.inf, made, judged=False)


class AllHeavy(_Base):
    """Every request is answered by the heavy model, in the batches that serve most within the objective."""

    name, title = "heavy", "all heavy"

    def decide(self, seen: Observation) -> Decision:
        made = tuple(
            Allocation(one.name, 0, one.workers, 0, self.quickest(one, heavy=True, share=0.5))
            for one in self.devices(seen)
        )
        return Decision(np.inf, made, direct=1.0, judged=False)


class ClipperLight(AllLight):
    """All light, batch size by additive increase and multiplicative decrease (Clipper, NSDI 2017)."""

    name, title = "clipper-light", "all light, AIMD batches (Clipper-like)"

    def decide(self, seen: Observation) -> Decision:
        made = tuple(Allocation(one.name, one.workers, 0, one.light.largest, 0) for one in self.devices(seen))
        return Decision(-np.inf, made, judged=False, adaptive=True)


class ClipperHeavy(AllHeavy):
    """All heavy, batch size by additive increase and multiplicative decrease (Clipper, NSDI 2017)."""

    name, title = "clipper-heavy", "all heavy, AIMD batches (Clipper-like)"

    def decide(self, seen: Observation) -> Decision:
        made = tuple(Allocation(one.name, 0, one.workers, 0, one.heavy.largest) for one in self.devices(seen))
        return Decision(np.inf, made, direct=1.0, judged=False, adaptive=True)


class Blind(_Base):
    """Query-blind accuracy scaling: as large a share to heavy as the load allows, chosen by chance.

    After Proteus (ASPLOS 2024), which scales accuracy without looking at queries.
    """

    name, title = "blind", "query-blind accuracy scaling (Proteus-like)"

    def decide(self, seen: Observation) -> Decision:
        devices = self.devices(seen)
        wanted = self.service.headroom * seen.demand
        light = [self.quickest(one, heavy=False, share=0.5) for one in devices]
        heavy = [self.quickest(one, heavy=True, share=0.5) for one in devices]
        light_rate = np.array(
            [batch / one.light.at(batch) for one, batch in zip(devices, light, strict=True)]
        )
        heavy_rate = np.array(
            [batch / one.heavy.at(batch) for one, batch in zip(devices, heavy, strict=True)]
        )
        # Kinds that are relatively best at heavy take it first; one worker more to light at a time.
        order = np.argsort(heavy_rate / light_rate, kind="stable")
        counts = np.array([one.workers for one in devices])
        x1 = np.zeros(len(devices), dtype=np.int64)
        best, best_share = x1.copy(), -1.0
        for at in order:
            for _ in range(int(counts[at]) + 1):
                capacity = float((counts - x1) @ heavy_rate)
                share = min(1.0, capacity / wanted)
                if float(x1 @ light_rate) >= wanted * (1 - share) - 1e-9 and share > best_share:
                    best, best_share = x1.copy(), share
                if x1[at] == counts[at]:
                    break
                x1[at] += 1
        if best_share < 0:
            best, best_share = counts.astype(np.int64), 0.0
        made = tuple(
            Allocation(one.name, int(x), int(one.workers - x), light[at], heavy[at])
            for at, (one, x) in enumerate(zip(devices, best, strict=True))
        )
        return Decision(-np.inf, made, direct=best_share, judged=False)


class _Planned(_Base):
    goal: Goal = "loss"

    def situation(self, seen: Observation, demand: float) -> Situation:
        return Situation(
            devices=self.devices(seen),
            choices=self.choices,
            demand=demand,
            latency=self.service.latency,
            goal=self.goal,
            headroom=self.service.headroom,
            tail=self.service.tail,
            batch_wait=self.service.batch_wait,
        )

    def decided(self, found: Plan | None, seen: Observation, demand: float) -> Decision:
        if found is None:
            return self.rest(seen, demand)
        return Decision(found.threshold, found.allocations)


class Static(_Planned):
    """Planned once, for the busiest ten seconds of the trace, which nobody knows beforehand."""

    name, title = "static", "static: one plan for the peak"

    def __init__(self, tables: Tables, service: Service, trace: Trace) -> None:
        super().__init__(tables, service, trace)
        self._kept: Decision | None = None

    def decide(self, seen: Observation) -> Decision:
        if self._kept is None:
            peak = self.trace.peak(_PEAK)
            self._kept = self.decided(feasible(self.situation(seen, peak)), seen, peak)
        return self._kept


class DiffServe(_Planned):
    """Largest threshold; mean times; queues by Little's law; workers by chance (MLSys 2025, its artifact)."""

    name, title = "diffserve", "DiffServe: largest threshold, random routing"
    routing: Routing | None = "random"
    goal: Goal = "threshold"

    def decide(self, seen: Observation) -> Decision:
        wanted = replace(
            self.situation(seen, seen.demand),
            tail=None,
            light_wait=seen.light_wait,
            heavy_wait=seen.heavy_wait,
        )
        found = feasible(wanted)
        if found is None:
            # Its row holds the heavy queue even where nothing is deferred, so a long one leaves no plan, and
            # its paper does not say what then.  Here it defers nothing until the queue is short again, which
            # leaves it with half the late answers of deferring on.
            found = feasible(replace(wanted, light_wait=0.0, heavy_wait=0.0))
        return self.decided(found, seen, seen.demand)


class DiffServeShortest(DiffServe):
    """The same with the shortest queue."""

    name, title = "diffserve-shortest", "DiffServe, shortest queue"
    routing: Routing | None = None


class Ours(_Planned):
    """Least measured loss; tails in the rows; light picture where heavy would be late.

    Threshold and batches are planned at every heartbeat: a plan takes less
    than a millisecond.  Workers change their model only where that is free,
    where nothing else serves the load, or where it is worth it and the last
    change is some loads ago.
    """

    name, title = "ours", "ours: least loss, light picture when late"
    fallback = True
    interval: float | None = 1.0

    def __init__(self, tables: Tables, service: Service, trace: Trace) -> None:
        super().__init__(tables, service, trace)
        self._changed = -np.inf
        self._swap = max(one.light.load_seconds + one.heavy.load_seconds for one in tables.devices)
        self._range = float(np.ptp(self.choices.loss)) or 1.0

    def decide(self, seen: Observation) -> Decision:
        drain = max(self.service.interval, self.service.latency)
        wanted = replace(
            self.situation(seen, seen.demand),
            light_backlog=seen.light_queue / drain + _RESERVE * seen.demand,
            now=seen.loaded,
            horizon=max(60.0, 10 * self._swap),
        )
        if seen.loaded is None or self._swap == 0:
            return self.decided(self._best(wanted), seen, seen.demand)
        kept = feasible(replace(wanted, pinned=True))
        if kept is not None and seen.time < self._changed + _SETTLE * self._swap:
            return self.decided(kept, seen, seen.demand)
        moved = self._best(wanted)
        if kept is not None and (moved is None or kept.loss - moved.loss < _WORTH * self._range):
            return self.decided(kept, seen, seen.demand)
        self._changed = seen.time
        return self.decided(moved, seen, seen.demand)

    def _best(self, wanted: Situation) -> Plan | None:
        found = feasible(wanted)
        return found if found is not None else feasible(replace(wanted, light_backlog=0.0, now=None))


POLICIES: Final[dict[str, Callable[[Tables, Service, Trace], Policy]]] = {
    policy.name: policy
    for policy in (
        AllLight,
        AllHeavy,
        Static,
        Blind,
        ClipperLight,
        ClipperHeavy,
        DiffServe,
        DiffServeShortest,
        Ours,
    )
}


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """Names of policies; `all` is every one.

    Raises:
        PlanError: a name that there is not.
    """
    if "all" in names or not names:
        return tuple(POLICIES)
    if unknown := [name for name in names if name not in POLICIES]:
        raise PlanError(f"There is no policy {unknown[0]}; choose from {', '.join(POLICIES)}, or all.")
    return tuple(dict.fromkeys(names))
