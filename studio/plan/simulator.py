"""A cascade under a trace of requests, event by event.

A request goes to a light worker, is scored with its batch, and is answered or
deferred to a heavy worker.  Workers take batches from queues of their own.
Everything random comes from one seed.  Each request is settled exactly once.
"""

from __future__ import annotations

import math
import random
from heapq import heappop, heappush
from typing import Final

import numpy as np

from studio.errors import PlanError
from studio.plan.control import Decision, Observation, Policy
from studio.plan.fleet import Fleet, Worker
from studio.plan.monitor import HEARTBEAT, Monitor
from studio.plan.outcome import DROPPED, FALLBACK, HEAVY, LIGHT, OPEN, Outcome, Step, outcome
from studio.plan.service import Service
from studio.plan.tables import Tables
from studio.plan.traces import Trace, rows_for

BACK_OFF: Final = 0.9
"""Clipper's multiplicative decrease."""
_PATIENCE: Final = 100
"""Latency objectives after the last arrival until the rest is given up."""

_END, _TIMER, _TICK, _READY, _LOST, _BACK = range(6)


class Simulation:
    """One policy under one trace; `advance` until it says that it is done, then `outcome`."""

    def __init__(
        self, tables: Tables, service: Service, trace: Trace, policy: Policy, *, seed: int = 0
    ) -> None:
        self.tables, self.service, self.trace, self.policy = tables, service, trace, policy
        self.rows = rows_for(trace, tables.prompt_ids, seed)
        self.now = 0.0
        count = len(trace)
        self._arrival: list[float] = trace.arrivals.tolist()
        self._score: list[float] = tables.confidences[self.rows].tolist()
        self._kind = [OPEN] * count
        self._finish = [math.nan] * count
        self._deferred = [math.nan] * count
        self._entered = [math.nan] * count
        self._begun = [math.nan] * count, [math.nan] * count
        self._next = 0
        self._open = count
        self._random = random.Random(seed)
        self.fleet = Fleet(tables.devices, policy.routing or service.routing, self._random)
        self._fallback = policy.fallback
        self._drop = math.inf if service.drop_after is None else service.drop_after * service.latency
        self._heap: list[tuple[float, int, int, int, int]] = []
        self._sequence = 0
        self._orphans: tuple[list[int], list[int]] = ([], [])
        self._threshold, self._direct, self._judged, self._adaptive = -math.inf, 0.0, True, False
        self._monitor = Monitor(self._first_rate())
        self._gathering = False
        self.steps: list[Step] = []
        self.retried = 0
        for loss in service.losses:
            if not 0 <= loss.worker < len(self.fleet.workers):
                raise PlanError(
                    f"There is no worker {loss.worker} to be lost; there are {len(self.fleet.workers)}."
                )
            self._push(loss.at, _LOST, loss.worker)
            if loss.back is not None:
                self._push(max(loss.at, loss.back), _BACK, loss.worker)
        self._ticks = 0
        self._decide(first=True)
        self._push(HEARTBEAT, _TICK, 0)

    def _first_rate(self) -> float:
        """Of the first interval: what whoever started the servers expected."""
        window = min(self.service.interval, self.trace.seconds)
        early = int(np.searchsorted(self.trace.arrivals, window))
        return max(early / window, 1 / self.trace.seconds)

    # -- running ------------------------------------------------------------------------------------

    def advance(self, events: int | None = None) -> bool:
        """Up to `events` events; whether everything is settled."""
        heap, arrivals, total = self._heap, self._arrival, len(self._arrival)
        handle = (self._end, self._timer, self._tick, self._ready, self._lost, self._back)
        left = math.inf if events is None else events
        while left > 0:
            left -= 1
            if self._next < total and (not heap or arrivals[self._next] < heap[0][0]):
                request = self._next
                self._next += 1
                self.now = arrivals[request]
                self._arrive(request)
            elif heap and self._open:
                self.now, _, kind, worker, epoch = heappop(heap)
                handle[kind](worker, epoch)
            else:
                for request, kind in enumerate(self._kind):
                    if kind == OPEN:
                        self._settle(request, DROPPED)
                return True
        return False

    def run(self) -> Outcome:
        """To the end."""
        self.advance()
        return self.outcome()

    @property
    def progress(self) -> float:
        """Share of the requests that are settled."""
        return 1 - self._open / len(self._arrival)

    def outcome(self) -> Outcome:
        """What became of every request."""
        if self._open:
            raise PlanError("The simulation is not at its end yet.")
        return outcome(
            policy=(self.policy.name, self.policy.title),
            trace=self.trace,
            tables=self.tables,
            latency=self.service.latency,
            rows=self.rows,
            kinds=np.array(self._kind, dtype=np.int8),
            finish=np.array(self._finish),
            deferred=np.array(self._deferred),
            begun=(np.array(self._begun[0]), np.array(self._begun[1])),
            steps=tuple(self.steps),
            retried=self.retried,
            chosen_by_score=self._judged and self._direct == 0,
        )

    def _push(self, at: float, kind: int, worker: int, epoch: int = 0) -> None:
        self._sequence += 1
        heappush(self._heap, (at, self._sequence, kind, worker, epoch))

    def _settle(self, request: int, kind: int) -> None:
        if self._kind[request] != OPEN:
            raise RuntimeError(f"request {request} was answered twice")
        self._kind[request] = kind
        self._finish[request] = self.now
        self._open -= 1

    # -- requests -----------------------------------------------------------------------------------

    def _arrive(self, request: int) -> None:
        self._monitor.arrived += 1
        direct = self._direct
        heavy = direct > 0 and (direct >= 1 or self._random.random() < direct)
        if heavy:
            self._monitor.deferred += 1
        self._route(request, HEAVY if heavy else LIGHT)

    def _route(self, request: int, role: int) -> None:
        worker = self.fleet.choose(role)
        if worker is None:
            self._orphans[role].append(request)
        else:
            self._enqueue(worker, request)

    def _enqueue(self, worker: Worker, request: int) -> None:
        limit = self.service.queue_limit
        if limit is not None and len(worker.queue) >= limit:
            lit = not math.isnan(self._deferred[request])
            self._settle(request, FALLBACK if lit and self._fallback else DROPPED)
            return
        worker.queue.append(request)
        worker.count += 1
        worker.load = worker.count * worker.unit
        self._entered[request] = self.now
        if worker.batch is None and not self._gathering:
            self._start(worker)

    def _defer(self, request: int) -> None:
        self._deferred[request] = self.now
        self._monitor.deferred += 1
        worker = self.fleet.choose(HEAVY)
        if worker is None:
            if self._fallback:
                self._settle(request, FALLBACK)
            else:
                self._orphans[HEAVY].append(request)
            return
        if (
            self._fallback
            and self.fleet.expected(worker, self.now) > self._arrival[request] + self.service.latency
        ):
            self._settle(request, FALLBACK)
            return
        self._enqueue(worker, request)

    # -- workers ------------------------------------------------------------------------------------

    def _start(self, worker: Worker) -> None:
        """Begin a batch with what is worth beginning."""
        role, queue, now = worker.role, worker.queue, self.now
        limit = max(1, int(worker.cap)) if self._adaptive else self.fleet.limits[worker.device][role]
        wait = self.service.batch_wait
        if wait and len(queue) < limit:
            ready = self._entered[queue[0]] + wait
            if now < ready - 1e-9:
                self._push(ready, _TIMER, worker.number, worker.epoch)
                return
        seconds = self.fleet.seconds[worker.device][role]
        if role == LIGHT and not self._judged:
            seconds = self.fleet.unscored[worker.device]
        batch: list[int] = []
        arrival, deferred = self._arrival, self._deferred
        fallback, drop, latency = self._fallback and role == HEAVY, self._drop, self.service.latency
        while queue and len(batch) < limit:
            request = queue.popleft()
            if fallback and deferred[request] == deferred[request]:
                size = min(limit, len(batch) + 1 + len(queue))
                if now + seconds[size] > arrival[request] + latency:
                    worker.count -= 1
                    self._settle(request, FALLBACK)
                    continue
            if now > arrival[request] + drop:
                worker.count -= 1
                self._settle(request, DROPPED)
                continue
            batch.append(request)
        if self.fleet.shared:
            worker.count = len(batch)
        worker.load = worker.count * worker.unit
        if not batch:
            return
        duration = seconds[len(batch)]
        variation = self.fleet.variation[worker.device][role][len(batch)]
        if variation > 0:
            duration *= self._random.gammavariate(variation**-2, variation**2)
        worker.batch, worker.until = batch, now + duration
        begun = self._begun[role]
        for request in batch:
            begun[request] = now
        self._push(worker.until, _END, worker.number, worker.epoch)

    def _end(self, at: int, epoch: int) -> None:
        worker = self.fleet.workers[at]
        if epoch != worker.epoch or worker.batch is None:
            return
        batch, role = worker.batch, worker.role
        worker.batch = None
        worker.count -= len(batch)
        worker.load = worker.count * worker.unit
        if self._adaptive:
            oldest = max(self.now - self._arrival[request] for request in batch)
            most = self.fleet.limits[worker.device][role]
            worker.cap = (
                min(most, worker.cap + 1)
                if oldest <= self.service.latency
                else max(1.0, worker.cap * BACK_OFF)
            )
        if role == LIGHT:
            # From one queue a worker takes at once all that came with the same light batch.
            self._gathering = self.fleet.shared
            for request in batch:
                if self._judged and self._score[request] < self._threshold:
                    self._defer(request)
                else:
                    self._settle(request, LIGHT)
            if self._gathering:
                self._gathering = False
                for other in self.fleet.pools[HEAVY]:
                    if other.queue and other.batch is None:
                        self._start(other)
        else:
            for request in batch:
                self._settle(request, HEAVY)
        if worker.pending is not None:
            self._swap(worker)
        elif worker.queue:
            self._start(worker)

    def _timer(self, at: int, epoch: int) -> None:
        worker = self.fleet.workers[at]
        if epoch == worker.epoch and worker.batch is None and worker.queue and worker.pending is None:
            self._start(worker)

    def _convert(self, worker: Worker, role: int) -> None:
        """Give a worker another role; it ends its batch first, its queue goes to the others at once."""
        self.fleet.pools[worker.role].remove(worker)
        worker.pending = role
        waiting = self.fleet.emptied(worker)
        if worker.batch is None:
            self._swap(worker)
        for request in waiting:
            self._reroute(request, worker.role if worker.pending is not None else 1 - role)

    def _reroute(self, request: int, role: int) -> None:
        if (
            role == HEAVY
            and self._fallback
            and not math.isnan(self._deferred[request])
            and not self.fleet.pools[HEAVY]
        ):
            self._settle(request, FALLBACK)
        else:
            self._route(request, role)

    def _swap(self, worker: Worker) -> None:
        device = self.tables.devices[worker.device]
        seconds = (device.heavy if worker.pending == HEAVY else device.light).load_seconds
        if seconds > 0:
            worker.epoch += 1
            self._push(self.now + seconds, _READY, worker.number, worker.epoch)
        else:
            self._join(worker)

    def _ready(self, at: int, epoch: int) -> None:
        worker = self.fleet.workers[at]
        if epoch == worker.epoch and worker.pending is not None:
            self._join(worker)

    def _join(self, worker: Worker) -> None:
        if worker.pending is not None:
            worker.role, worker.pending = worker.pending, None
        worker.cap = 1.0
        self.fleet.measure(worker)
        self.fleet.enlist(worker)
        waiting = self._orphans[worker.role][:]
        self._orphans[worker.role].clear()
        for request in waiting:
            self._route(request, worker.role)
        if worker.queue and worker.batch is None:
            self._start(worker)

    def _lost(self, at: int, _epoch: int) -> None:
        worker = self.fleet.workers[at]
        if not worker.alive:
            return
        worker.alive = False
        worker.epoch += 1
        if worker in self.fleet.pools[worker.role]:
            self.fleet.pools[worker.role].remove(worker)
        interrupted = worker.batch or []
        worker.batch = None
        waiting = interrupted + self.fleet.emptied(worker)
        worker.count, worker.load, worker.until = 0, 0.0, self.now
        self.retried += len(interrupted)
        for request in waiting:
            self._reroute(request, worker.role)

    def _back(self, at: int, _epoch: int) -> None:
        worker = self.fleet.workers[at]
        if not worker.alive:
            worker.alive = True
            if worker.pending is None:
                worker.pending = worker.role
            self._swap(worker)

    # -- planning -----------------------------------------------------------------------------------

    def _tick(self, _worker: int, _epoch: int) -> None:
        self._ticks += 1
        self._monitor.look(self._waiting(LIGHT), self._waiting(HEAVY))
        every = max(1, round((self.policy.interval or self.service.interval) / HEARTBEAT))
        over = self._next == len(self._arrival)
        # Once the trace is over, only a stage without workers is a reason to plan again.
        if any(self._orphans) if over else self._ticks % every == 0:
            self._decide()
        if self.now < self.trace.seconds + _PATIENCE * self.service.latency:
            self._push(self.now + HEARTBEAT, _TICK, 0)
        else:
            self._heap.clear()

    def _waiting(self, role: int) -> int:
        return self.fleet.waiting(role) + len(self._orphans[role])

    def _decide(self, *, first: bool = False) -> None:
        light_wait, heavy_wait = self._monitor.waits
        seen = Observation(
            time=self.now,
            demand=max(self._monitor.demand, 1e-6),
            light_wait=light_wait,
            heavy_wait=heavy_wait,
            light_queue=self._waiting(LIGHT),
            heavy_queue=self._waiting(HEAVY),
            alive=self.fleet.alive(),
            loaded=None if first else self.fleet.loaded(),
        )
        self._apply(self.policy.decide(seen), first=first)

    def _apply(self, decision: Decision, *, first: bool) -> None:
        self._threshold, self._direct = decision.threshold, decision.direct
        self._judged, self._adaptive = decision.judged, decision.adaptive
        for at, one in enumerate(decision.allocations):
            for role, batch in ((LIGHT, one.light_batch), (HEAVY, one.heavy_batch)):
                if batch:
                    self.fleet.limits[at][role] = batch
        if first:
            self.fleet.provision(decision.allocations)
        else:
            for worker, role in self.fleet.to_change(decision.allocations):
                self._convert(worker, role)
        for worker in self.fleet.workers:
            self.fleet.measure(worker)
        loaded = self.fleet.loaded()
        self.steps.append(
            Step(
                time=self.now,
                threshold=decision.threshold,
                direct=decision.direct,
                light_workers=sum(light for light, _ in loaded),
                heavy_workers=sum(heavy for _, heavy in loaded),
                light_batch=max(one.light_batch for one in decision.allocations),
                heavy_batch=max(one.heavy_batch for one in decision.allocations),
                demand=self._monitor.demand,
            )
        )


def simulate(tables: Tables, service: Service, trace: Trace, policy: Policy, *, seed: int = 0) -> Outcome:
    """One policy under one trace, to the end."""
    return Simulation(tables, service, trace, policy, seed=seed).run()
