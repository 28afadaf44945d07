"""The engine processes of one model: a bounded queue, dynamic batches, deadlines, restarts.

A request leaves the queue only when a process takes it, so one that is given
up or late costs nothing.  All processes draw from one queue, which is what
shortest-queue routing tends to.  What a process had when it died goes back to
the front; an answer can only come from the process that still has the request,
so none is answered twice.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from engines.package.serving.metrics import SIZES, Metrics
from engines.package.serving.process import Batch, EngineDied, EngineProcess, EngineRefused
from engines.package.serving.running import Running
from engines.package.serving.values import Drawing, Tuning, broken, busy, late, stopping

ATTEMPTS: Final = 3
"""Processes that a request may cost before it is given up: it might be what kills them."""
_WEIGHT: Final = 0.2
"""Of the newest batch in the mean time of its size."""
_SHORTEST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 30.0


@dataclass(eq=False, slots=True)
class _Item:
    prompt: str
    seed: int
    arrived: float
    deadline: float
    future: asyncio.Future[Drawing]
    spare: bool = False
    """There is something else to hand back: not begun where it would be late."""
    attempts: int = 0
    alone: bool = False
    """Its batch was refused: whose fault it was shows when each is asked alone."""


@dataclass(eq=False, slots=True)
class _Slot:
    """Where one process runs, and is started again when it dies."""

    number: int
    retire: asyncio.Event = field(default_factory=asyncio.Event)
    engine: EngineProcess | None = None
    task: asyncio.Task[None] | None = None
    free_at: float = 0.0
    """When its batch is expected to be done, on the loop's clock."""
    pause: float = _SHORTEST_PAUSE
    """Seconds before the next start; doubled by each death without a batch in between."""


class Pool:
    """Serves one model.

    Args:
        command: starts an engine process (`engines.package.serving.engine`) that is warm up to a batch size.
        tuning: its batch is the largest that there will ever be.
        queue: requests that may wait.
        greeting: what each process is given on its standard input before any request.
        patience: seconds for one batch, and ten times as many for starting, after which a process
            counts as dead.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[int], Sequence[str]],
        tuning: Tuning,
        *,
        queue: int,
        metrics: Metrics,
        patience: float = 120.0,
        say: Callable[[str], None] = lambda _text: None,
        greeting: bytes = b"",
    ) -> None:
        self.name, self.tuning, self.limit, self.patience = name, tuning, queue, patience
        self.largest = tuning.batch
        self.seconds: dict[int, float] = {}
        """Mean seconds of a batch by its size, the newest weighing most."""
        self.start_seconds = 0.0
        self.trouble = ""
        """Why a process died last; empty once one draws again."""
        self.running = Running(name, metrics, say)
        self._command, self._metrics, self._say, self._greeting = command, metrics, say, greeting
        self._queue: deque[_Item] = deque()
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._slots: list[_Slot] = []
        self._retired: set[asyncio.Task[None]] = set()
        self._number = 0
        self._served: set[int] = set()
        self._open = True
        self._settled = asyncio.Event()
        metrics.gauge("queue_length", "Pictures that wait for a process", self._length, engine=name)
        metrics.gauge("processes_up", "Engine processes that can draw", lambda: float(self.up), engine=name)
        metrics.histogram("batch_size", "Pictures in a batch", SIZES)
        metrics.histogram("batch_seconds", "Seconds of a batch")
        metrics.histogram("queue_seconds", "Seconds from arrival to the start of the batch")
        metrics.counter("restarts_total", "Engine processes that died and were started again")
        metrics.counter("retries_total", "Requests that were asked of another process")

    # -- what the router needs

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def up(self) -> int:
        """Processes that can draw."""
        return sum(slot.engine is not None for slot in self._slots)

    def room(self, count: int) -> bool:
        return len(self._queue) + count <= self.limit

    def estimate(self) -> float:
        """Seconds until one more request would be answered, as far as can be told."""
        loop = asyncio.get_running_loop()
        now, batch = loop.time(), self.tuning.batch
        free = sorted(max(0.0, slot.free_at - now) for slot in self._slots if slot.engine is not None)
        if not free:
            return max(self.start_seconds, 1.0)
        place = len(self._queue) + 1
        full = self.time_of(batch)
        rounds, rest = divmod(math.ceil(place / batch) - 1, len(free))
        last = place - batch * (math.ceil(place / batch) - 1)
        return free[rest] + rounds * full + self.time_of(last) + (self.tuning.wait if place < batch else 0.0)

    def time_of(self, batch: int) -> float:
        """Mean seconds of a batch: as measured, between sizes a straight line, beyond them in proportion."""
        if not self.seconds:
            return 1.0
        if batch in self.seconds:
            return self.seconds[batch]
        below = max((size for size in self.seconds if size < batch), default=None)
        above = min((size for size in self.seconds if size > batch), default=None)
        if below is None:
            assert above is not None
            return self.seconds[above]
        if above is None:
            return self.seconds[below] * batch / below
        share = (batch - below) / (above - below)
        return (1 - share) * self.seconds[below] + share * self.seconds[above]

    async def draw(self, prompt: str, seed: int, deadline: float, *, spare: bool = False) -> Drawing:
        """One picture.  Cancelling it, or the deadline, takes it off the queue.

        `spare`: do not begin what would be late, because something else can be handed back.

        Raises:
            Refusal: busy, late, broken or stopping.
        """
        if not self._open:
            raise stopping()
        if not self.room(1):
            raise busy(len(self._queue), self.estimate())
        loop = asyncio.get_running_loop()
        item = _Item(prompt, seed, loop.time(), deadline, loop.create_future(), spare)
        self._queue.append(item)
        self._changed.set()
        try:
            async with asyncio.timeout_at(deadline):
                return await item.future
        except TimeoutError:
            raise late() from None
        finally:
            if not item.future.done():
                item.future.cancel()
            if item in self._queue:
                self._queue.remove(item)

    # -- life

    def tune(self, tuning: Tuning) -> None:
        """Change batch, wait and number of processes; those too many finish their batch first."""
        self.tuning = replace(tuning, batch=min(tuning.batch, self.largest))
        self._changed.set()
        if not self._open:
            return
        self._shrink(tuning.workers)
        while len(self._slots) < tuning.workers:
            self._number += 1
            slot = _Slot(self._number)
            slot.task = asyncio.create_task(self._run(slot), name=f"{self.name}-{slot.number}")
            self._slots.append(slot)

    def _shrink(self, count: int) -> None:
        while len(self._slots) > count:
            slot = self._slots.pop()
            slot.retire.set()
            if slot.task is not None:
                self._retired.add(slot.task)
                slot.task.add_done_callback(self._retired.discard)

    async def ready(self) -> str:
        """Wait until one process can draw, or the first has died trying; the reason, empty if none."""
        await self._settled.wait()
        return "" if self.up else self.trouble

    async def stop(self) -> None:
        """End all processes; who still waits is refused."""
        self._open = False
        tasks = [slot.task for slot in self._slots if slot.task is not None] + list(self._retired)
        self._shrink(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self._queue:
            item = self._queue.popleft()
            if not item.future.done():
                item.future.set_exception(stopping())

    # -- the processes

    async def _run(self, slot: _Slot) -> None:
        while not slot.retire.is_set():
            engine = None
            try:
                engine = await EngineProcess.start(
                    self.name, self._command(self.largest), 10 * self.patience, self._greeting
                )
                self.start_seconds = engine.start_seconds
                for size, value in engine.measured.items():
                    self.seconds.setdefault(size, value)
                slot.engine, slot.free_at = engine, 0.0
                self.running.note(slot.number, engine.choices)
                self._settled.set()
                await self._feed(slot, engine)
            except EngineDied as error:
                slot.engine = None
                self._mourn(error)
                if engine is not None:
                    await engine.close(patience=0)
                await asyncio.sleep(slot.pause)
                slot.pause = min(_LONGEST_PAUSE, 2 * slot.pause)
            finally:
                slot.engine = None
                self.running.gone(slot.number)
                if engine is not None:
                    await asyncio.shield(engine.close())

    def _mourn(self, error: EngineDied) -> None:
        self.trouble = str(error)
        self._settled.set()
        self._metrics.add("restarts_total", engine=self.name)
        self._say(f"The {self.name} engine died: {error}; it is started again.")

    async def _feed(self, slot: _Slot, engine: EngineProcess) -> None:
        """Give it one batch after another, until it is to retire."""
        loop = asyncio.get_running_loop()
        while (items := await self._next(slot, engine)) is not None:
            begun = loop.time()
            slot.free_at = begun + self.time_of(len(items))
            for item in items:
                item.attempts += 1
                self._metrics.observe("queue_seconds", begun - item.arrived, engine=self.name)
            try:
                async with asyncio.timeout(self.patience):
                    batch = await engine.draw([one.prompt for one in items], [one.seed for one in items])
            except TimeoutError:
                error = EngineDied(f"a batch took longer than {self.patience:.0f} s")
                self._again(items, error)
                raise error from None
            except EngineDied as died:
                self._again(items, died)
                raise
            except EngineRefused as refused:
                self._refused(items, refused)
            except asyncio.CancelledError:
                self._put_back(items)
                raise
            else:
                self.trouble, slot.pause = "", _SHORTEST_PAUSE
                self.running.note(slot.number, engine.choices)
                self._note(len(items), loop.time() - begun)
                self._hand_out(items, batch, begun)
            finally:
                slot.free_at = 0.0

    async def _next(self, slot: _Slot, engine: EngineProcess) -> list[_Item] | None:
        """The next batch; `None` when the slot is to retire.

        Raises:
            EngineDied: it died while there was nothing to do.
        """
        collect = asyncio.create_task(self._collect())
        retire = asyncio.create_task(slot.retire.wait())
        items: list[_Item] = []
        try:
            await asyncio.wait({collect, retire, engine.exited}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Nothing leaves the queue before `_collect` is done, so cancelling it loses nothing.
            for task in (collect, retire):
                task.cancel()
            await asyncio.gather(collect, retire, return_exceptions=True)
            if not collect.cancelled():
                items = collect.result()
            own = asyncio.current_task()
            if items and (engine.exited.done() or (own is not None and own.cancelling())):
                self._put_back(items)
        if engine.exited.done():
            raise EngineDied("it ended while it had nothing to do")
        return items or None

    async def _collect(self) -> list[_Item]:
        """A batch: as soon as it is full, or its first has waited long enough."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            while True:
                wait: float | None = None
                self._drop_late(loop.time())
                if self._queue:
                    first = self._queue[0]
                    wait = first.arrived + self.tuning.wait - loop.time()
                    if first.alone:
                        return [self._queue.popleft()]
                    if len(self._queue) >= self.tuning.batch or wait <= 0:
                        count = min(self.tuning.batch, len(self._queue))
                        return [self._queue.popleft() for _ in range(count)]
                self._changed.clear()
                try:
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    def _drop_late(self, now: float) -> None:
        """Let go of the first in the queue as long as beginning it would be in vain."""
        while self._queue:
            first = self._queue[0]
            size = 1 if first.alone else min(self.tuning.batch, len(self._queue))
            if not first.spare or now + self.time_of(size) <= first.deadline:
                return
            self._queue.popleft()
            if not first.future.done():
                first.future.set_exception(late())

    def _again(self, items: list[_Item], error: EngineDied) -> None:
        """Ask another process, unless the request has cost too many already."""
        for item in items:
            if item.attempts >= ATTEMPTS and not item.future.done():
                item.future.set_exception(broken(self.name, str(error)))
        self._metrics.add("retries_total", self._put_back(items), engine=self.name)

    def _put_back(self, items: list[_Item]) -> int:
        """To the front of the queue, in their order; how many still wait."""
        again = [item for item in items if not item.future.done()]
        for item in reversed(again):
            self._queue.appendleft(item)
        self._changed.set()
        return len(again)

    def _refused(self, items: list[_Item], error: EngineRefused) -> None:
        if len(items) == 1:
            if not items[0].future.done():
                items[0].future.set_exception(broken(self.name, str(error)))
            return
        for item in items:
            item.alone = True
        self._put_back(items)

    def _hand_out(self, items: list[_Item], batch: Batch, begun: float) -> None:
        scores: Sequence[float | None] = batch.scores or [None] * len(items)
        for item, png, score in zip(items, batch.pngs, scores, strict=True):
            if not item.future.done():
                item.future.set_result(
                    Drawing(
                        png,
                        score,
                        begun - item.arrived,
                        batch.draw,
                        batch.score,
                        len(items),
                        item.attempts,
                    )
                )

    def _note(self, size: int, seconds: float) -> None:
        self._metrics.observe("batch_size", size, engine=self.name)
        self._metrics.observe("batch_seconds", seconds, engine=self.name)
        known = self.seconds.get(size, seconds)
        found = (1 - _WEIGHT) * known + _WEIGHT * seconds
        self.seconds[size] = found
        self._served.add(size)
        # A machine that was busy while warming up was slow for every size: those not seen since move along.
        for other in self.seconds.keys() - self._served:
            self.seconds[other] *= found / known

    def _length(self) -> float:
        return float(len(self._queue))
