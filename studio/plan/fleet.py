"""The simulated workers: what each holds, how quick it is, whose turn it is."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from operator import attrgetter

import numpy as np

from studio.errors import PlanError
from studio.plan.control import Routing
from studio.plan.outcome import HEAVY, LIGHT
from studio.plan.profile import Device
from studio.plan.situation import Allocation

_load = attrgetter("load")


class Worker:
    """One worker; `role` is `LIGHT` or `HEAVY`."""

    __slots__ = (
        "alive",
        "batch",
        "cap",
        "count",
        "device",
        "epoch",
        "load",
        "number",
        "pending",
        "queue",
        "role",
        "unit",
        "until",
    )

    def __init__(self, number: int, device: int) -> None:
        self.number, self.device = number, device
        self.role = LIGHT
        self.queue: deque[int] = deque()
        """Of its own, or the one that all of its role share."""
        self.batch: list[int] | None = None
        self.until = 0.0
        """When its batch ends."""
        self.epoch = 0
        """Raised when what was scheduled for this worker no longer holds."""
        self.pending: int | None = None
        """The role that it takes once its batch is done, or whose model it loads."""
        self.alive = True
        self.count = 0
        """Requests that it has: waiting and in its batch; with a shared queue those of its batch."""
        self.unit = 1.0
        """Seconds of one more request in a full batch."""
        self.load = 0.0
        self.cap = 1.0
        """Largest batch where that is adapted."""


class Fleet:
    """All workers, and which of them take requests of a role.

    Raises:
        PlanError: there is no worker.
    """

    def __init__(self, devices: Sequence[Device], routing: Routing, draw: random.Random) -> None:
        self.devices, self._routing, self._draw = devices, routing, draw
        kinds = [at for at, device in enumerate(devices) for _ in range(device.workers)]
        self.workers = [Worker(number, at) for number, at in enumerate(kinds)]
        if not self.workers:
            raise PlanError("There are no workers; give at least one.")
        self.pools: tuple[list[Worker], list[Worker]] = ([], [])
        """Workers that take requests, by role; not those that are lost or load a model."""
        self._queues: tuple[deque[int], deque[int]] = (deque(), deque())
        self.shared = routing == "shared"
        self.limits = [[1, 1] for _ in devices]
        """Largest batch by device and role."""
        self.seconds: list[list[list[float]]] = []
        """By device, role and batch size; the discriminator is part of light."""
        self.unscored: list[list[float]] = []
        """Of light without the discriminator, by device and batch size."""
        self.variation: list[list[list[float]]] = []
        for device in devices:
            plain = device.light.by_size()
            scored = plain.copy()
            if device.discriminator is not None:
                sizes = np.arange(1, plain.size)
                scored[1:] += np.interp(sizes, device.discriminator.batches, device.discriminator.seconds)
            self.unscored.append(plain.tolist())
            self.seconds.append([scored.tolist(), device.heavy.by_size().tolist()])
            self.variation.append([device.light.variation().tolist(), device.heavy.variation().tolist()])

    def choose(self, role: int) -> Worker | None:
        """Who takes the next request; `None` where nobody can."""
        pool = self.pools[role]
        if not pool:
            return None
        if len(pool) == 1:
            return pool[0]
        if self.shared:
            return next((worker for worker in pool if worker.batch is None), pool[0])
        if self._routing == "shortest":
            return min(pool, key=_load)
        return pool[int(self._draw.random() * len(pool))]

    def expected(self, worker: Worker, now: float) -> float:
        """When one more heavy request would be answered by this worker."""
        limit = self.limits[worker.device][HEAVY]
        seconds = self.seconds[worker.device][HEAVY]
        full, rest = divmod(len(worker.queue), limit)
        begin = max(worker.until, now) if worker.batch is not None else now
        if self.shared:
            pool = self.pools[HEAVY]
            free = sorted(max(one.until, now) if one.batch is not None else now for one in pool)
            full, turn = divmod(full, len(free))
            begin = free[turn]
        return begin + full * seconds[limit] + seconds[rest + 1]

    def enlist(self, worker: Worker) -> None:
        """It takes requests of its role from now on."""
        self.pools[worker.role].append(worker)
        if self.shared:
            worker.queue = self._queues[worker.role]

    def emptied(self, worker: Worker) -> list[int]:
        """What waits for this worker, which is off its pool, and for nobody else."""
        if self.shared and self.pools[worker.role]:
            return []
        waiting = list(worker.queue)
        worker.queue.clear()
        worker.count = max(0, worker.count - len(waiting))
        worker.load = worker.count * worker.unit
        return waiting

    def measure(self, worker: Worker) -> None:
        """Its load, once batch sizes or its role are others."""
        limit = self.limits[worker.device][worker.role]
        worker.unit = self.seconds[worker.device][worker.role][limit] / limit
        worker.load = worker.count * worker.unit

    def waiting(self, role: int) -> int:
        """Length of all queues of a role."""
        if self.shared:
            return len(self._queues[role])
        return sum(len(worker.queue) for worker in self.pools[role])

    def alive(self) -> tuple[int, ...]:
        """Workers by device."""
        counts = [0] * len(self.devices)
        for worker in self.workers:
            counts[worker.device] += worker.alive
        return tuple(counts)

    def loaded(self) -> tuple[tuple[int, int], ...]:
        """Workers that hold light and heavy, or will soon, by device."""
        counts = [[0, 0] for _ in self.devices]
        for worker in self.workers:
            if worker.alive:
                counts[worker.device][worker.role if worker.pending is None else worker.pending] += 1
        return tuple((light, heavy) for light, heavy in counts)

    def provision(self, allocations: Sequence[Allocation]) -> None:
        """The first plan finds its models loaded."""
        left = [one.light_workers for one in allocations]
        for worker in self.workers:
            worker.role = LIGHT if left[worker.device] > 0 else HEAVY
            left[worker.device] -= 1
            self.enlist(worker)

    def to_change(self, allocations: Sequence[Allocation]) -> list[tuple[Worker, int]]:
        """As few changes of role as give each its workers, the idlest first."""
        found = []
        for at, (light, heavy) in enumerate(self.loaded()):
            one = allocations[at]
            if light < one.light_workers:
                role, missing = LIGHT, min(one.light_workers - light, heavy)
            elif heavy < one.heavy_workers:
                role, missing = HEAVY, min(one.heavy_workers - heavy, light)
            else:
                continue
            pool = sorted(
                (worker for worker in self.pools[1 - role] if worker.device == at), key=attrgetter("count")
            )
            found += [(worker, role) for worker in pool[:missing]]
        return found
