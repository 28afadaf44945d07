"""Counters, gauges and histograms in Prometheus' text format 0.0.4.

Few enough kinds that a client library would be the package's largest dependency after the engine.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from typing import Final

TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """All metrics of a server; names get the prefix `pareto_`."""

    def __init__(self) -> None:
        self._help: dict[str, tuple[str, str]] = {}
        self._counters: dict[str, dict[Labels, float]] = {}
        self._histograms: dict[str, dict[Labels, list[float]]] = {}
        self._bounds: dict[str, Sequence[float]] = {}
        self._gauges: dict[str, dict[Labels, Callable[[], float]]] = {}

    def counter(self, name: str, text: str) -> None:
        self._help[name] = ("counter", text)
        self._counters.setdefault(name, {})

    def histogram(self, name: str, text: str, bounds: Sequence[float] = SECONDS) -> None:
        self._help[name] = ("histogram", text)
        self._bounds[name] = bounds
        self._histograms.setdefault(name, {})

    def gauge(self, name: str, text: str, value: Callable[[], float], **labels: str) -> None:
        """`value` is asked whenever metrics are read."""
        self._help[name] = ("gauge", text)
        self._gauges.setdefault(name, {})[_labels(labels)] = value

    def add(self, name: str, amount: float = 1.0, **labels: str) -> None:
        row = self._counters[name]
        key = _labels(labels)
        row[key] = row.get(key, 0.0) + amount

    def observe(self, name: str, value: float, **labels: str) -> None:
        bounds = self._bounds[name]
        row = self._histograms[name].setdefault(_labels(labels), [0.0] * (len(bounds) + 2))
        row[bisect.bisect_left(bounds, value)] += 1
        row[-1] += value

    def value(self, name: str, **labels: str) -> float:
        """Of a counter; 0 where it was never added to."""
        return self._counters[name].get(_labels(labels), 0.0)

    def text(self) -> str:
        """Everything, as a scraper wants it."""
        lines: list[str] = []
        for name, (kind, text) in self._help.items():
            lines += [f"# HELP pareto_{name} {text}", f"# TYPE pareto_{name} {kind}"]
            for labels, value in self._counters.get(name, {}).items():
                lines.append(f"pareto_{name}{_shown(labels)} {value:g}")
            for labels, ask in self._gauges.get(name, {}).items():
                lines.append(f"pareto_{name}{_shown(labels)} {ask():g}")
            for labels, row in self._histograms.get(name, {}).items():
                lines += self._rows(name, labels, row)
        return "\n".join(lines) + "\n"

    def _rows(self, name: str, labels: Labels, row: list[float]) -> list[str]:
        lines, total = [], 0.0
        for bound, count in zip((*self._bounds[name], float("inf")), row[:-1], strict=True):
            total += count
            edge = "+Inf" if bound == float("inf") else f"{bound:g}"
            lines.append(f"pareto_{name}_bucket{_shown((*labels, ('le', edge)))} {total:g}")
        lines.append(f"pareto_{name}_sum{_shown(labels)} {row[-1]:g}")
        lines.append(f"pareto_{name}_count{_shown(labels)} {total:g}")
        return lines


def _labels(labels: dict[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _shown(labels: Labels) -> str:
    if not labels:
        return ""
    inner = ",".join(
        '{}="{}"'.format(key, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))
        for key, value in labels
    )
    return "{" + inner + "}"
