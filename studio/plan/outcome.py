"""What a simulation found: late answers, quality, shares, latencies, and how they went over time."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from studio.plan.deferral import CONFIDENCE, Interval, wilson
from studio.plan.quality import QualityByPrompt, QualityByShare
from studio.plan.tables import Tables
from studio.plan.traces import Trace

Floats = NDArray[np.float64]

OPEN: Final = -1
LIGHT: Final = 0
HEAVY: Final = 1
FALLBACK: Final = 2
"""Deferred, but answered with the light picture, since heavy would have been late."""
DROPPED: Final = 3

_RESAMPLES: Final = 400


@dataclass(frozen=True, slots=True)
class Step:
    """A plan as it was put into force."""

    time: float
    threshold: float
    direct: float
    light_workers: int
    heavy_workers: int
    light_batch: int
    heavy_batch: int
    demand: float
    """Requests per second as the controller saw them."""


@dataclass(frozen=True, eq=False, slots=True)
class Timeline:
    """One value for each second of the trace; all arrays (s,)."""

    seconds: Floats
    arrivals: Floats
    late: Floats
    """Of the requests that came in this second: late or dropped."""
    deferred: Floats
    """Share of the scored requests of this second; NaN where there were none."""
    light_queue: Floats
    """Waiting at the end of the second."""
    heavy_queue: Floats

    def to_json(self) -> dict[str, Any]:
        return {
            name: [None if math.isnan(value) else round(value, 6) for value in getattr(self, name).tolist()]
            for name in ("seconds", "arrivals", "late", "deferred", "light_queue", "heavy_queue")
        }


@dataclass(frozen=True, eq=False, slots=True)
class Outcome:
    """One policy under one trace."""

    policy: str
    title: str
    trace: str
    requests: int
    light: int
    heavy: int
    fallback: int
    dropped: int
    late: Interval
    """Share of requests answered after the objective or not at all; Wilson interval."""
    quality: Interval | None
    """Mean of the answered; `None` where the tables cannot say."""
    quality_note: str
    metric: str
    higher_is_better: bool
    deferred: float
    """Share of requests that were sent to heavy, from the light stage or at once."""
    latency: dict[str, float]
    """Seconds of the answered: mean, p50, p90, p95, p99, most."""
    light_wait: float
    """Mean seconds in the light queue, of those that a light worker took."""
    heavy_wait: float
    retried: int
    """Interrupted by the loss of a worker and begun again."""
    timeline: Timeline
    steps: tuple[Step, ...]
    seconds_computed: float = 0.0

    @property
    def answered(self) -> int:
        return self.light + self.heavy + self.fallback

    def to_json(self, *, timeline: bool = True) -> dict[str, Any]:
        """Everything by name, times in seconds."""
        names = (
            "policy title trace requests light heavy fallback dropped quality_note metric higher_is_better "
            "deferred latency light_wait heavy_wait retried seconds_computed"
        )
        made: dict[str, Any] = {name: getattr(self, name) for name in names.split()}
        made["late"] = asdict(self.late)
        made["quality"] = None if self.quality is None else asdict(self.quality)
        if timeline:
            made["timeline"] = self.timeline.to_json()
            made["plans"] = [
                {name: value if math.isfinite(value) else None for name, value in asdict(step).items()}
                for step in self.steps
            ]
        return made


def outcome(
    *,
    policy: tuple[str, str],
    trace: Trace,
    tables: Tables,
    latency: float,
    rows: NDArray[np.int64],
    kinds: NDArray[np.int8],
    finish: Floats,
    deferred: Floats,
    begun: tuple[Floats, Floats],
    steps: tuple[Step, ...],
    retried: int,
    chosen_by_score: bool,
) -> Outcome:
    """Everything from what became of each request; arrays (n,), NaN where it did not happen."""
    arrivals = trace.arrivals
    took = finish - arrivals
    answered = kinds != DROPPED
    late = ~answered | (took > latency + 1e-9)
    sent = ~np.isnan(deferred) | (np.isnan(begun[LIGHT]) & (kinds == HEAVY))
    quality, note = _quality(tables, rows, kinds, chosen_by_score)
    times = took[answered]
    percentiles = np.percentile(times, [50, 90, 95, 99]) if times.size else np.zeros(4)
    lit = ~np.isnan(begun[LIGHT])
    drawn = ~np.isnan(begun[HEAVY])
    entered = np.where(np.isnan(deferred), arrivals, deferred)
    return Outcome(
        policy=policy[0],
        title=policy[1],
        trace=trace.name,
        requests=len(trace),
        light=int((kinds == LIGHT).sum()),
        heavy=int((kinds == HEAVY).sum()),
        fallback=int((kinds == FALLBACK).sum()),
        dropped=int((kinds == DROPPED).sum()),
        late=wilson(int(late.sum()), len(trace)),
        quality=quality,
        quality_note=note,
        metric=tables.quality.metric,
        higher_is_better=tables.quality.higher_is_better,
        deferred=float(sent.mean()),
        latency={
            "mean": float(times.mean()) if times.size else 0.0,
            **{f"p{q}": float(value) for q, value in zip((50, 90, 95, 99), percentiles, strict=True)},
            "most": float(times.max()) if times.size else 0.0,
        },
        light_wait=float((begun[LIGHT] - arrivals)[lit].mean()) if lit.any() else 0.0,
        heavy_wait=float((begun[HEAVY] - entered)[drawn].mean()) if drawn.any() else 0.0,
        retried=retried,
        timeline=_timeline(trace, finish, late, deferred, begun),
        steps=steps,
    )


def _quality(
    tables: Tables, rows: NDArray[np.int64], kinds: NDArray[np.int8], chosen_by_score: bool
) -> tuple[Interval | None, str]:
    """Mean quality of the answered, and what must be said of it."""
    answered = kinds != DROPPED
    if not answered.any():
        return None, "Nothing was answered."
    table = tables.quality
    if isinstance(table, QualityByPrompt):
        values = np.where(kinds == HEAVY, table.heavy[rows], table.light[rows])[answered]
        # Requests of one prompt share its pictures: prompts are what is resampled.
        count = np.bincount(rows[answered], minlength=tables.confidences.size).astype(np.float64)
        total = np.bincount(rows[answered], weights=values, minlength=tables.confidences.size)
        used = np.flatnonzero(count)
        draw = np.random.default_rng(0).multinomial(used.size, np.full(used.size, 1 / used.size), _RESAMPLES)
        means = (draw @ total[used]) / (draw @ count[used])
        low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return Interval(float(values.mean()), float(low), float(high)), ""
    if not isinstance(table, QualityByShare):
        return None, "The tables hold no quality."
    share = float((kinds[answered] == HEAVY).mean())
    if not chosen_by_score and 0 < share < 1:
        return None, "No table: the shares were measured for prompts chosen by score, not at random."
    value = float(table.at_share(share))
    note = "By share; hand-backs count as light." if (kinds == FALLBACK).any() else "By share."
    if table.low is None or table.high is None:
        return Interval(value, math.nan, math.nan), note + " The table has no interval."
    low, high = (float(np.interp(share, table.shares, bound)) for bound in (table.low, table.high))
    return Interval(value, low, high), note


def _timeline(
    trace: Trace,
    finish: Floats,
    late: NDArray[np.bool_],
    deferred: Floats,
    begun: tuple[Floats, Floats],
) -> Timeline:
    arrivals = trace.arrivals
    edges = np.arange(math.floor(trace.seconds) + 2, dtype=np.float64)
    per_second = np.histogram(arrivals, edges)[0].astype(np.float64)
    late_per_second = np.histogram(arrivals[late], edges)[0].astype(np.float64)
    lit = ~np.isnan(begun[LIGHT])
    scored = np.histogram(arrivals[lit], edges)[0]
    sent = np.histogram(arrivals[~np.isnan(deferred)], edges)[0]
    direct = ~lit & ~np.isnan(begun[HEAVY])
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(scored > 0, sent / np.maximum(scored, 1), np.nan)
    if direct.any():
        share = np.histogram(arrivals[direct], edges)[0] / np.where(per_second > 0, per_second, np.nan)
    return Timeline(
        seconds=edges[:-1],
        arrivals=per_second,
        late=late_per_second,
        deferred=share,
        light_queue=_waiting(edges[1:], np.where(direct, np.nan, arrivals), begun[LIGHT], finish),
        heavy_queue=_waiting(edges[1:], np.where(direct, arrivals, deferred), begun[HEAVY], finish),
    )


def _waiting(at: Floats, entered: Floats, begun: Floats, finish: Floats) -> Floats:
    """Requests that have entered a queue and are not taken out of it, at each time."""
    here = ~np.isnan(entered)
    left = np.where(np.isnan(begun), finish, begun)[here]
    return (
        np.searchsorted(np.sort(entered[here]), at, side="right")
        - np.searchsorted(np.sort(left), at, side="right")
    ).astype(np.float64)
