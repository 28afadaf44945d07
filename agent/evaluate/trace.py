"""Reads what torch wrote down of one request: operations with shapes and types, as lines of JSON.

The format is torch's execution trace (Chakra, schema 1.1): one node for each
operation, written when it ends, children before parents.  Only lines that say
something here are taken apart, since there are thousands a step.

Nominal FLOPs are counted as torch's own counter counts them: two for a
multiplication with its addition, convolutions, products and attention only.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from agent.evaluate.prompts import Asked
from agent.sandbox import Answer, Counted, Process
from engines.counted import MARK

_NAME: Final = re.compile(rb'"id": (\d+), "name": "([^"]*)"')
_ID: Final = re.compile(rb'"rf_id", "type": "uint64", "value": (\d+)')
_PRODUCTS: Final = frozenset(
    {b"aten::mm", b"aten::addmm", b"aten::bmm", b"aten::baddbmm", b"aten::_scaled_mm"}
)
_ATTENTION: Final = (b"aten::_scaled_dot_product_flash", b"aten::_scaled_dot_product_efficient",
                     b"aten::_scaled_dot_product_cudnn", b"aten::_scaled_dot_product_fused")  # fmt: skip
_QUANTISED: Final = (b"quantized::", b"onednn::q", b"aten::_int_mm", b"aten::_weight_int")
_FRAME: Final = b"[pytorch|profiler|"
"""Records of process and threads, which all have the number 0."""
_TYPES: Final = {
    "float": "float32", "double": "float64", "c10::BFloat16": "bfloat16", "c10::Half": "float16",
    "signed char": "int8", "unsigned char": "uint8", "c10::qint8": "int8", "c10::quint8": "uint8",
    "c10::Float8_e4m3fn": "float8", "c10::Float8_e5m2": "float8",
}  # fmt: skip
_LONGEST: Final = 1 << 20
"""Of a line; a longer one is nobody's operation."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What was counted of one request."""

    complete: bool = False
    """Whether it began and ended as torch writes it, with every record there once."""
    flops: float = 0.0
    sides: Mapping[int, float] = field(default_factory=dict)
    """FLOPs of convolutions by the height in pixels of what they took."""
    dtypes: Mapping[str, int] = field(default_factory=dict)
    """Heavy operations by the narrowest type they took."""
    components: tuple[Counted, ...] = ()
    """Marked calls, in the order of their ends."""
    operations: int = 0
    """Of every kind."""


class Reading:
    """Takes a trace in pieces; `done` says what was in it.  `seal` must stand in it first and last."""

    def __init__(self, seal: str) -> None:
        self._seal = f"{MARK}|{seal}".encode()
        self._seals: list[int] = []
        self._rest = b""
        self._begun = self._ended = False
        self._name, self._own = b"", False
        self._inputs: dict[str, Any] | None = None
        self._ids: set[int] = set()
        self._doubles = 0
        self._nodes = 0
        self._flops = 0.0
        self._sides: dict[int, float] = {}
        self._dtypes: Counter[str] = Counter()
        self._calls: Counter[tuple[str, str, str]] = Counter()
        self._rows: Counter[tuple[str, str, str]] = Counter()

    def feed(self, chunk: bytes) -> None:
        """More of it, in the order it was written."""
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()[-_LONGEST:]
        for line in lines:
            self._line(line)

    def done(self) -> Trace:
        """All of it has been fed."""
        self._line(self._rest)
        every = len(self._ids) == self._nodes and not self._doubles
        return Trace(
            self._begun and self._ended and every and self._without_gaps() and self._is_sealed(),
            self._flops,
            dict(self._sides),
            dict(self._dtypes),
            tuple(Counted(*key, calls, self._rows[key]) for key, calls in self._calls.items()),
            self._nodes,
        )

    def _is_sealed(self) -> bool:
        """What ends the trace while it is written leaves the last seal out."""
        return len(self._seals) == 2 and self._seals == [1, self._nodes]

    def _without_gaps(self) -> bool:
        """Torch numbers its records: what is left out or put in between shows."""
        return not self._ids or max(self._ids) - min(self._ids) + 1 == len(self._ids)

    def _line(self, line: bytes) -> None:
        text = line.lstrip()
        if text.startswith(b'"id"'):
            found = _NAME.match(text)
            self._name = found[2] if found else b""
            self._inputs = None
            self._own = self._name.startswith(_FRAME)
            self._nodes += not self._own
            if self._name == self._seal:
                self._seals.append(self._nodes)
            elif self._name.startswith(MARK.encode()):
                self._marked(self._name.decode("utf-8", "replace"))
        elif text.startswith(b'"attrs"'):
            if not self._own and (number := _ID.search(text)):
                known = int(number[1])
                self._doubles += known in self._ids
                self._ids.add(known)
        elif text.startswith(b'"inputs"'):
            if self._is_heavy():
                self._inputs = _read(text)
        elif text.startswith(b'"outputs"'):
            if self._inputs is not None:
                self._count(self._inputs, _read(text))
        elif text.startswith(b'"schema"'):
            self._begun = not self._begun and not self._nodes
        elif text.startswith(b'"finish_ts"'):
            self._ended = True

    def _is_heavy(self) -> bool:
        name = self._name
        return (
            name == b"aten::convolution" or name in _PRODUCTS or name.startswith((*_ATTENTION, *_QUANTISED))
        )

    def _marked(self, text: str) -> None:
        parts = text.split("|")
        if len(parts) == 5 and parts[2].isdigit():
            key = (parts[1], parts[3], parts[4])
            self._calls[key] += 1
            self._rows[key] += int(parts[2])

    def _count(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        shapes = inputs.get("shapes") or []
        kinds = {
            _TYPES.get(kind, kind)
            for text in inputs.get("types") or ()
            if isinstance(text, str) and (kind := text.removeprefix("Tensor(").removesuffix(")")) != text
        } - {"long int", "int", "bool"}
        narrow = sorted(kinds - {"float32", "float64"}) or sorted(kinds)
        if self._name.startswith(_QUANTISED):
            narrow = ["int8"]
        if narrow:
            self._dtypes[narrow[0]] += 1
        try:
            done = _flops(self._name, shapes, outputs.get("shapes") or [])
        except (TypeError, IndexError, ValueError, OverflowError):
            return
        self._flops += done
        if self._name == b"aten::convolution" and len(shapes[0]) == 4:
            side = int(shapes[0][2])
            self._sides[side] = self._sides.get(side, 0.0) + done


def _read(text: bytes) -> dict[str, Any]:
    """The object of a line `"inputs": {...},`."""
    try:
        found = json.loads(text.partition(b":")[2].strip().rstrip(b","))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _flops(name: bytes, given: list[Any], made: list[Any]) -> float:
    if name == b"aten::convolution":
        weight, out = given[1], made[0]
        return 2.0 * int(math.prod(out)) * int(math.prod(weight[1:]))
    if name in _PRODUCTS:
        a, b = _factors(name, given)
        return 2.0 * int(math.prod(a)) * int(b[-1])
    if name.startswith(_ATTENTION):
        query, key, value = given[:3]
        scores = int(math.prod(query[:-1])) * int(key[-2])
        return 2.0 * scores * (int(query[-1]) + int(value[-1]))
    return 0.0


def _factors(name: bytes, given: list[Any]) -> tuple[list[int], list[int]]:
    start = 1 if name in (b"aten::addmm", b"aten::baddbmm") else 0
    return given[start], given[start + 1]


@dataclass(frozen=True)
class Seen:
    """One request drawn under the observer."""

    asked: Asked
    answer: Answer
    said: Mapping[str, Any]
    """What the process says of itself: `patched`, `engines`, `threads`."""
    trace: Trace


def watch(process: Process, asked: Asked) -> Seen:
    """Have a process draw under torch's observer.

    Raises:
        CandidateFailure: it fails.
    """
    seal = secrets.token_hex(8)
    reading = Reading(seal)
    said, answer = process.census(asked.prompts, asked.seeds, seal, reading.feed)
    return Seen(asked, answer, said, reading.done())
