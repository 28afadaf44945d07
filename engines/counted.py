"""Calls of a pipeline's components, counted where they happen: how often, how large, on which engine.

A pipeline of `engines.pipeline` calls its components through this file, so the
counts of a script that is nothing but its recipe are this program's own.  A
script with code of its own can lie to them; what torch itself writes down
meanwhile (`engines.census`) can then be set beside them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
Component = Callable[[Arrays], Arrays]
Mark = Callable[[str], AbstractContextManager[object]]

MARK: Final = "pareto-studio"
"""What names of marks in torch's own trace begin with."""


@dataclass(frozen=True, slots=True)
class Key:
    """What calls are counted by."""

    component: str
    shape: str
    """`16x16`, of video `8x16x16`; empty for what is no picture."""
    engine: str
    """`torch fp32`."""


class _Counts:
    """What was counted in this process; components may be called from several threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.calls: Counter[Key] = Counter()
        self.rows: Counter[Key] = Counter()
        self.inside = threading.local()
        self.mark: Mark | None = None


_COUNTS: Final = _Counts()


def shape_of(value: Any) -> str:
    """`16x16` of a batch (B, C, 16, 16); empty below three dimensions, where nothing is a picture."""
    shape = tuple(getattr(value, "shape", ()))
    return "x".join(str(side) for side in shape[2:]) if len(shape) >= 4 else ""


def counting(name: str, engine: str, component: Component) -> Component:
    """The component, its calls counted."""

    def call(inputs: Arrays) -> Arrays:
        first = next(iter(inputs.values()))
        with called(Key(name, shape_of(first), engine), len(first)):
            return component(inputs)

    return call


@contextmanager
def called(key: Key, rows: int) -> Iterator[None]:
    """One call, from its begin to its end; what is called inside it is part of it and not counted."""
    counts = _COUNTS
    if getattr(counts.inside, "it", False):
        yield
        return
    with counts.lock:
        counts.calls[key] += 1
        counts.rows[key] += rows
    text = f"{MARK}|{key.component}|{rows}|{key.shape}|{key.engine}"
    counts.inside.it = True
    try:
        with nullcontext() if counts.mark is None else counts.mark(text):
            yield
    finally:
        counts.inside.it = False


@contextmanager
def marking(mark: Mark) -> Iterator[None]:
    """Have every call written down by `mark(text)` as well."""
    _COUNTS.mark = mark
    try:
        yield
    finally:
        _COUNTS.mark = None


def clear() -> None:
    """Begin anew."""
    with _COUNTS.lock:
        _COUNTS.calls.clear()
        _COUNTS.rows.clear()


def told() -> list[dict[str, Any]]:
    """What was called since `clear`, in the order of first calls."""
    with _COUNTS.lock:
        return [
            {
                "component": key.component,
                "shape": key.shape,
                "engine": key.engine,
                "calls": count,
                "rows": _COUNTS.rows[key],
            }
            for key, count in _COUNTS.calls.items()
        ]
