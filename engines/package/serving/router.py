"""One request: the light model first, its score, and the heavy model where it is needed and in time.

The rule is DiffServe's (arXiv 2411.15381): a light picture whose score is below
the threshold is deferred.  What its artifact lacks: the light picture is handed
back where heavy would be late, is too busy, or failed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from engines.package.serving.metrics import Metrics
from engines.package.serving.values import Answer, Ask, Drawing, Load, Refusal, Settings, Tuning

WINDOW: Final = 20.0
"""Seconds that measured load looks back."""
RESERVE: Final = 0.002
"""Seconds before the deadline at which the light picture is handed back, so that it arrives in time."""


@dataclass(frozen=True, slots=True)
class _Event:
    time: float
    kind: Literal["arrived", "light", "heavy", "late", "lost"]


class Drawer(Protocol):
    """What draws for one model: processes of this machine (`Pool`), or replicas of a cluster."""

    seconds: dict[int, float]
    start_seconds: float

    @property
    def waiting(self) -> int: ...

    @property
    def up(self) -> int: ...

    def estimate(self) -> float: ...

    def tune(self, tuning: Tuning) -> None: ...

    async def draw(self, prompt: str, seed: int, deadline: float, *, spare: bool = False) -> Drawing: ...


class Router:
    """Light and heavy, or one model alone (`light` is `None`)."""

    def __init__(self, light: Drawer | None, heavy: Drawer, settings: Settings, metrics: Metrics) -> None:
        self.light, self.heavy, self.settings = light, heavy, settings
        self._metrics = metrics
        self._events: deque[_Event] = deque(maxlen=20_000)
        self._since = asyncio.get_running_loop().time()
        metrics.counter("pictures_total", "Pictures answered, by decision and its reason")
        metrics.histogram("answer_seconds", "Seconds from a picture's arrival to its answer")
        metrics.histogram("score", "Scores of light pictures", tuple(k / 20 for k in range(1, 20)))
        if light is not None:
            metrics.gauge("threshold", "Light pictures below this score are deferred", self._threshold)

    def apply(self, settings: Settings) -> None:
        """From the next decision on."""
        self.settings = settings
        if self.light is not None:
            self.light.tune(settings.light)
        self.heavy.tune(settings.heavy)

    async def answer(self, ask: Ask) -> Answer:
        """The picture for one ask.

        Raises:
            Refusal: no picture at all, and why.
        """
        begun = asyncio.get_running_loop().time()
        self._note("arrived")
        try:
            found = await self._answer(ask, begun)
        except Refusal as refusal:
            if refusal.code == "late":
                self._note("lost")
            raise
        self._metrics.add("pictures_total", decision=found.decision, reason=found.reason)
        self._metrics.observe("answer_seconds", found.times["total"], decision=found.decision)
        return found

    async def _answer(self, ask: Ask, begun: float) -> Answer:
        if self.light is None or ask.route == "heavy":
            heavy = await self.heavy.draw(ask.prompt, ask.seed, ask.deadline)
            reason = "only" if self.light is None else "asked"
            return self._done(ask, begun, None, heavy, reason)
        try:
            light = await self.light.draw(ask.prompt, ask.seed, ask.deadline)
        except Refusal as refusal:
            if refusal.code != "broken" or ask.route == "light":
                raise
            heavy = await self.heavy.draw(ask.prompt, ask.seed, ask.deadline)
            return self._done(ask, begun, None, heavy, "broken")
        if light.score is not None:
            self._metrics.observe("score", light.score)
        if ask.route == "light":
            return self._done(ask, begun, light, None, "asked")
        if light.score is None or light.score >= self.settings.threshold:
            self._note("light")
            return self._done(ask, begun, light, None, "score")
        now = asyncio.get_running_loop().time()
        if now + self.heavy.estimate() > ask.deadline:
            self._note("late")
            return self._done(ask, begun, light, None, "late")
        try:
            heavy = await self.heavy.draw(ask.prompt, ask.seed, ask.deadline - RESERVE, spare=True)
        except Refusal as refusal:
            if refusal.code == "stopping":
                raise
            self._note("late")
            return self._done(ask, begun, light, None, refusal.code)
        self._note("heavy")
        return self._done(ask, begun, light, heavy, "score")

    def _done(
        self, ask: Ask, begun: float, light: Drawing | None, heavy: Drawing | None, reason: str
    ) -> Answer:
        times: dict[str, float] = {}
        if light is not None:
            times |= {"light_queue": light.queued, "light": light.seconds, "score": light.scoring}
        if heavy is not None:
            times |= {"heavy_queue": heavy.queued, "heavy": heavy.seconds}
        chosen = heavy or light
        assert chosen is not None
        return Answer(
            png=chosen.png,
            seed=ask.seed,
            decision="light" if heavy is None else "heavy",
            reason=reason,
            score=None if light is None else light.score,
            threshold=self.settings.threshold,
            times=times | {"total": asyncio.get_running_loop().time() - begun},
            attempts=max(one.attempts for one in (light, heavy) if one is not None),
        )

    # -- what a planner looks at

    def load(self) -> Load:
        """Of the last `WINDOW` seconds."""
        now = asyncio.get_running_loop().time()
        while self._events and self._events[0].time < now - WINDOW:
            self._events.popleft()
        counts = dict.fromkeys(("arrived", "light", "heavy", "late", "lost"), 0)
        for event in self._events:
            counts[event.kind] += 1
        decided = counts["light"] + counts["heavy"] + counts["late"]
        ended = decided + counts["lost"]
        light = self.light
        return Load(
            demand=counts["arrived"] / max(1.0, min(WINDOW, now - self._since)),
            deferred=(counts["heavy"] + counts["late"]) / decided if decided else None,
            late=(counts["late"] + counts["lost"]) / ended if ended else None,
            light_seconds={} if light is None else dict(light.seconds),
            heavy_seconds=dict(self.heavy.seconds),
            light_queue=0 if light is None else light.waiting,
            heavy_queue=self.heavy.waiting,
            light_workers=0 if light is None else light.up,
            heavy_workers=self.heavy.up,
            light_start=0.0 if light is None else light.start_seconds,
            heavy_start=self.heavy.start_seconds,
        )

    def _note(self, kind: Literal["arrived", "light", "heavy", "late", "lost"]) -> None:
        self._events.append(_Event(asyncio.get_running_loop().time(), kind))

    def _threshold(self) -> float:
        return self.settings.threshold
