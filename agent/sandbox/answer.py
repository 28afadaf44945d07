"""What a candidate's process answers, read with distrust: anything may have written it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_COMPONENTS: Final = 64
"""Lines of a process's own count that are read."""


class CandidateFailure(Exception):
    """A candidate did not do what was asked; the text is one sentence, `evidence` its own output."""

    def __init__(self, text: str, evidence: str = "") -> None:
        super().__init__(text)
        self.evidence = evidence


@dataclass(frozen=True, slots=True)
class Counted:
    """Calls of one component, all of one size on one engine, as the process itself counted them."""

    component: str
    shape: str
    """Of what it was given, `16x16`; empty for what is no picture."""
    engine: str
    """For example `torch fp32`."""
    calls: int
    rows: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Pictures (N, H, W, 3) or clips (N, F, H, W, 3), their cost on the caller's clock, and what the
    pipeline says of itself."""

    images: Pixels
    seconds: float
    stages: Mapping[str, float] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    fallbacks: tuple[str, ...] = ()
    cpu: float = 0.0
    """CPU seconds that the process and all it started spent meanwhile, by the operating system's count."""
    components: tuple[Counted, ...] = ()
    """What the pipeline counted of its own calls (`engines.counted`)."""


def numbers(found: object, kind: type) -> dict[str, Any]:
    """What of a mapping is numbers, by name; a script's process may have written anything."""
    if not isinstance(found, Mapping):
        return {}
    return {str(name): kind(value) for name, value in found.items() if isinstance(value, int | float)}


def components(found: object) -> tuple[Counted, ...]:
    """What of a list is counted calls, the first `_COMPONENTS` of them."""
    if not isinstance(found, list):
        return ()
    kept = []
    for one in found[:_COMPONENTS]:
        if not isinstance(one, Mapping):
            continue
        component, shape, engine = (str(one.get(name, ""))[:60] for name in ("component", "shape", "engine"))
        numbers = (one.get(name) for name in ("calls", "rows"))
        calls, rows = (value if isinstance(value, int) and value >= 0 else 0 for value in numbers)
        kept.append(Counted(component, shape, engine, calls, rows))
    return tuple(kept)
