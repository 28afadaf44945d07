"""What the parts of the server hand each other, and how they refuse."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

from engines.package.variants import Choice

Route = Literal["auto", "light", "heavy"]
ROUTES: Final = ("auto", "light", "heavy")


class Refusal(Exception):
    """A request that gets an error for an answer: HTTP status, code, one sentence."""

    def __init__(self, status: int, code: str, text: str, *, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.status, self.code, self.text, self.retry_after = status, code, text, retry_after


def busy(waiting: int, seconds: float) -> Refusal:
    """Back-pressure: the queue is full."""
    pause = max(1, math.ceil(seconds))
    return Refusal(
        429,
        "busy",
        f"{waiting} pictures wait already and no more may; ask again in {pause} s.",
        retry_after=pause,
    )


def late() -> Refusal:
    return Refusal(504, "late", "No picture was ready within the deadline; allow more time with deadline_ms.")


def broken(engine: str, reason: str) -> Refusal:
    return Refusal(500, "broken", f"The {engine} engine failed ({reason}); ask again, or look at /health.")


def stopping() -> Refusal:
    return Refusal(503, "stopping", "The server is stopping; ask another one.", retry_after=5)


@dataclass(frozen=True, slots=True)
class Tuning:
    """How one model is served."""

    batch: int = 4
    """Largest batch."""
    wait: float = 0.005
    """Seconds that the first of a batch may wait for others."""
    workers: int = 1
    """Processes."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a plan decides; can be changed while the server runs."""

    threshold: float
    """A light picture with a lower score is deferred; 0 defers nothing."""
    light: Tuning = field(default_factory=Tuning)
    heavy: Tuning = field(default_factory=Tuning)

    def changed(self, wanted: Mapping[str, Any]) -> Settings:
        """With some values changed: `{"threshold": t, "light": {"batch": n, "wait": s, "workers": n}, ...}`.

        Raises:
            ValueError: an unknown name or a value that makes no sense; the text says which.
        """
        found = self
        for name, value in wanted.items():
            if name == "threshold":
                found = replace(found, threshold=_number(name, value, 0.0, 1e9))
            elif name == "light" and isinstance(value, Mapping):
                found = replace(found, light=_tuned(name, found.light, value))
            elif name == "heavy" and isinstance(value, Mapping):
                found = replace(found, heavy=_tuned(name, found.heavy, value))
            else:
                raise ValueError(f"{name} is no setting; give threshold, light or heavy")
        return found

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _tuned(role: str, tuning: Tuning, wanted: Mapping[str, Any]) -> Tuning:
    for name, value in wanted.items():
        if name in ("batch", "workers"):
            whole = _number(f"{role}.{name}", value, 1, 1024)
            if whole != int(whole):
                raise ValueError(f"{role}.{name} must be a whole number")
            tuning = replace(tuning, **{name: int(whole)})
        elif name == "wait":
            tuning = replace(tuning, wait=_number(f"{role}.wait", value, 0.0, 60.0))
        else:
            raise ValueError(f"{role}.{name} is no setting; give batch, wait or workers")
    return tuning


def _number(name: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}")
    return float(value)


@dataclass(frozen=True, slots=True)
class Drawing:
    """One picture as its engine process made it."""

    png: bytes
    score: float | None
    """Probability that a light picture is good enough; `None` from the heavy model."""
    queued: float
    """Seconds from arrival at the pool to the start of the batch."""
    seconds: float
    """Of the whole batch, drawing."""
    scoring: float
    """Of the whole batch, discriminator."""
    batch: int
    attempts: int
    """1, and one more for each engine process that died with it."""
    made_by: str = ""
    """Which replica of a cluster."""
    choices: tuple[Choice, ...] = ()
    """The variants that it ran."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One picture that is wanted; `deadline` on the event loop's clock."""

    prompt: str
    seed: int
    deadline: float
    route: Route = "auto"


@dataclass(frozen=True, slots=True)
class Answer:
    """The picture that is handed back, and why this one."""

    png: bytes
    seed: int
    decision: Literal["light", "heavy"]
    reason: str
    """`score`; `asked`; `only` (there is one model); of a light picture instead of a heavy one: `late` (heavy
    would be), `busy` (its queue is full) or `broken`."""
    score: float | None
    threshold: float
    times: Mapping[str, float]
    """Seconds: light_queue, light, score, heavy_queue, heavy, total."""
    attempts: int


@dataclass(frozen=True, slots=True)
class Load:
    """What was measured lately; a planner decides by it."""

    demand: float
    """Pictures asked for per second."""
    deferred: float | None
    """Share deferred, of those that were decided by score."""
    late: float | None
    """Share answered with the light picture because heavy would be late, or not at all."""
    light_seconds: Mapping[int, float]
    """Seconds of a batch, discriminator included, by its size."""
    heavy_seconds: Mapping[int, float]
    light_queue: int
    heavy_queue: int
    light_workers: int
    """Processes that are up."""
    heavy_workers: int
    light_start: float
    """Seconds that a process takes until it can draw."""
    heavy_start: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
