"""When requests arrive: replayed from a file, or drawn by seed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from studio.errors import PlanError

Floats = NDArray[np.float64]
_MOST = 2_000_000
"""Requests of a trace; more would not be simulated in a sitting."""


@dataclass(frozen=True, eq=False)
class Trace:
    """Arrivals in ascending order.

    Raises:
        PlanError: no request, or a time that is negative or not finite.
    """

    name: str
    arrivals: Floats
    """Seconds from the beginning, (n,)."""
    prompt_ids: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """(n,), or empty where any prompt will do."""

    def __post_init__(self) -> None:
        if self.arrivals.size == 0:
            raise PlanError(f"The trace {self.name} is empty; give at least one arrival.")
        if self.arrivals.size > _MOST:
            raise PlanError(f"The trace {self.name} has more than {_MOST:,} requests; cut it into pieces.")
        if not np.isfinite(self.arrivals).all():
            raise PlanError(f"The trace {self.name} has a time that is not finite.")
        if self.arrivals.min() < 0:
            raise PlanError(f"The trace {self.name} has a negative time ({self.arrivals.min():g} s).")
        if self.prompt_ids.size not in (0, self.arrivals.size):
            raise PlanError(f"The trace {self.name} needs a prompt id for every arrival, or for none.")
        order = np.argsort(self.arrivals, kind="stable")
        object.__setattr__(self, "arrivals", self.arrivals[order])
        if self.prompt_ids.size:
            object.__setattr__(self, "prompt_ids", self.prompt_ids[order])

    def __len__(self) -> int:
        return int(self.arrivals.size)

    @property
    def seconds(self) -> float:
        """Until the last arrival, a second at least."""
        return max(1.0, float(self.arrivals[-1]))

    @property
    def rate(self) -> float:
        """Mean requests per second."""
        return len(self) / self.seconds

    def peak(self, window: float) -> float:
        """Requests per second in the busiest `window` seconds."""
        past = np.searchsorted(self.arrivals, self.arrivals + window, side="right")
        return float((past - np.arange(len(self))).max()) / min(window, self.seconds)

    def scaled(self, factor: float) -> Trace:
        """The same shape with `factor` times the load: time runs that much quicker."""
        if not (math.isfinite(factor) and factor > 0):
            raise PlanError(f"A load cannot be multiplied by {factor:g}.")
        return replace(self, arrivals=self.arrivals / factor)


def poisson(rate: float, seconds: float, seed: int = 0) -> Trace:
    """A constant rate in requests per second."""
    _check(rate, seconds)
    return _thinned(f"poisson {rate:g}/s", lambda at: np.full_like(at, rate), rate, seconds, seed)


def diurnal(low: float, high: float, seconds: float, seed: int = 0, days: int = 1) -> Trace:
    """From `low` up to `high` and back, once a day: a raised cosine, as most public traffic has it."""
    _check(high, seconds)
    if not 0 <= low <= high:
        raise PlanError(f"A day's load cannot go from {low:g} to {high:g} requests/s.")

    def rate(at: Floats) -> Floats:
        return low + (high - low) * (1 - np.cos(2 * np.pi * days * at / seconds)) / 2

    return _thinned(f"diurnal {low:g} to {high:g}/s", rate, high, seconds, seed)


def bursts(
    rate: float, peak: float, seconds: float, seed: int = 0, *, every: float = 60.0, length: float = 10.0
) -> Trace:
    """`rate`, and `peak` for `length` seconds about every `every` seconds; gaps are exponential."""
    _check(peak, seconds)
    if not (0 <= rate <= peak and every > 0 and length > 0):
        raise PlanError("Bursts need a peak of at least the rate, and times above 0.")
    draw = np.random.default_rng([seed, 1])
    starts = np.cumsum(draw.exponential(every, size=int(4 * seconds / every) + 8))

    def shape(at: Floats) -> Floats:
        last = np.searchsorted(starts, at, side="right") - 1
        inside = (last >= 0) & (at - starts[np.maximum(last, 0)] < length)
        return np.where(inside, peak, rate)

    return _thinned(f"bursts {rate:g} to {peak:g}/s", shape, peak, seconds, seed)


def _check(rate: float, seconds: float) -> None:
    if not (math.isfinite(rate) and rate > 0 and math.isfinite(seconds) and seconds > 0):
        raise PlanError(f"A trace needs a rate and a length above 0, not {rate:g}/s for {seconds:g} s.")
    if rate * seconds > _MOST:
        raise PlanError(f"{rate:g} requests/s for {seconds:g} s is more than {_MOST:,} requests.")


def _thinned(name: str, rate: Callable[[Floats], Floats], peak: float, seconds: float, seed: int) -> Trace:
    """An inhomogeneous Poisson process by thinning (Lewis and Shedler, 1979)."""
    draw = np.random.default_rng([seed, 0])
    at = np.sort(draw.random(draw.poisson(peak * seconds))) * seconds
    at = at[draw.random(at.size) * peak < rate(at)]
    return Trace(name, at)


def read_trace(path: Path) -> Trace:
    """`arrival_ms[,prompt_id]` a line, in any order, with or without a head; or JSON with these names.

    Raises:
        PlanError: what is wrong in the file, as one sentence.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PlanError(f"{path} cannot be read ({error.strerror or error}); check the name.") from None
    except UnicodeDecodeError:
        raise PlanError(f"{path} is no text in UTF-8; give lines of arrival_ms,prompt_id.") from None
    rows = _json_rows(path, text) if path.suffix.lower() == ".json" else _lines(path, text)
    if not rows:
        raise PlanError(f"The trace {path} is empty; give at least one arrival.")
    width = len(rows[0])
    arrivals = np.array([row[0] for row in rows]) / 1e3
    ids = np.array([row[1] for row in rows], dtype=np.int64) if width > 1 else np.empty(0, dtype=np.int64)
    return Trace(path.stem, arrivals, ids)


def _lines(path: Path, text: str) -> list[list[float]]:
    rows: list[list[float]] = []
    for at, line in enumerate(text.splitlines(), start=1):
        cells = [cell.strip() for cell in line.replace("\t", ",").split(",")]
        if not any(cells) or line.lstrip().startswith("#"):
            continue
        try:
            numbers = [float(cell) for cell in cells]
        except ValueError:
            if not rows and at == 1:
                continue
            raise PlanError(f"Line {at} of {path} is {line[:60]!r}; write arrival_ms,prompt_id.") from None
        if len(numbers) not in (1, 2) or (rows and len(numbers) != len(rows[0])):
            raise PlanError(
                f"Line {at} of {path} has {len(numbers)} cells; write arrival_ms,prompt_id in each."
            )
        if not all(math.isfinite(number) for number in numbers) or numbers[0] < 0:
            raise PlanError(f"Line {at} of {path} has a time that cannot be: {line[:60]!r}.")
        rows.append(numbers)
    return rows


def _json_rows(path: Path, text: str) -> list[list[float]]:
    try:
        data = json.loads(text)
        columns = [data["arrival_ms"], data["prompt_id"]] if "prompt_id" in data else [data["arrival_ms"]]
        rows = [[float(value) for value in row] for row in zip(*columns, strict=True)]
    except (ValueError, KeyError, TypeError) as error:
        raise PlanError(f"{path} is no trace ({error}); give arrival_ms and, if known, prompt_id.") from None
    if any(not math.isfinite(row[0]) or row[0] < 0 for row in rows):
        raise PlanError(f"The trace {path} has a time that is negative or not finite.")
    return rows


def spelled(text: str, seed: int = 0) -> Trace:
    """A trace by words, `poisson:20:350`, `diurnal:4-32:350`, `bursts:10-40:350`, or else a file.

    Rates in requests per second, lengths in seconds.
    """
    kind, _, rest = text.partition(":")
    if kind not in ("poisson", "diurnal", "bursts"):
        return read_trace(Path(text).expanduser())
    try:
        rates, _, length = rest.partition(":")
        low, _, high = rates.partition("-")
        first, second, seconds = float(low), float(high or low), float(length or 350)
    except ValueError:
        raise PlanError(
            f"{text!r} is no trace; write for example poisson:20:350, diurnal:4-32:350 or bursts:10-40:350."
        ) from None
    if kind == "poisson":
        return poisson(first, seconds, seed)
    if kind == "diurnal":
        return diurnal(first, second, seconds, seed)
    return bursts(first, second, seconds, seed)


def rows_for(trace: Trace, prompt_ids: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """For each request a row of a table whose rows are the prompts `prompt_ids`, (n,).

    A prompt with several rows gets one of them by chance; a trace without
    prompt ids takes any row.

    Raises:
        PlanError: the trace asks for a prompt that the table does not have.
    """
    draw = np.random.default_rng([seed, 2])
    if trace.prompt_ids.size == 0:
        return draw.integers(prompt_ids.size, size=len(trace))
    order = np.argsort(prompt_ids, kind="stable")
    known = prompt_ids[order]
    first = np.searchsorted(known, trace.prompt_ids, side="left")
    past = np.searchsorted(known, trace.prompt_ids, side="right")
    if (missing := np.flatnonzero(first == past)).size:
        raise PlanError(
            f"The trace {trace.name} asks for prompt {int(trace.prompt_ids[missing[0]])}, of which there is "
            "no confidence; give a table that has it, or a trace without prompt ids."
        )
    chosen = first + (draw.random(len(trace)) * (past - first)).astype(np.int64)
    return np.asarray(order[chosen], dtype=np.int64)
