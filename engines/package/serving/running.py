"""Which variants the processes of one model run: said once, counted each time, shown while they run."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

from engines.package.serving.metrics import Metrics
from engines.package.variants import Choice, facts_of, fallbacks, sentences


class Running:
    """Of one model; its processes may differ, where a device has room for the first of them only.

    Args:
        name: `light` or `heavy`.
        say: where a person reads it.
    """

    def __init__(self, name: str, metrics: Metrics, say: Callable[[str], None] = lambda _text: None) -> None:
        self.name = name
        self._metrics, self._say = metrics, say
        self._by_process: dict[Hashable, tuple[Choice, ...]] = {}
        self._counted: dict[Hashable, set[tuple[str, str]]] = {}
        self._said: set[str] = set()
        self._shown: set[tuple[str, str]] = set()
        metrics.counter("fallbacks_total", "Variants that a process passed over, by the one it took instead")

    def note(self, process: Hashable, choices: Iterable[Choice]) -> None:
        """What a process runs from now on."""
        found = tuple(choices)
        if found == self._by_process.get(process, ()):
            return
        self._by_process[process] = found
        known = self._counted.setdefault(process, set())
        for one in found:
            self._show(one)
            for name, _ in one.passed_over:
                if (one.component, name) not in known:
                    known.add((one.component, name))
                    self._metrics.add(
                        "fallbacks_total",
                        engine=self.name,
                        component=one.component,
                        variant=name,
                        instead=one.variant,
                    )
        for text in sentences(found):
            if text not in self._said:
                self._said.add(text)
                self._say(f"{self.name}: {text}")

    def gone(self, process: Hashable) -> None:
        """A process that has ended."""
        self._by_process.pop(process, None)
        self._counted.pop(process, None)

    def clear(self) -> None:
        """Some process has ended, and nobody knows which; the others are to be noted again."""
        self._by_process.clear()

    def to_json(self) -> list[dict[str, Any]]:
        """One entry for all processes that run the same: how many, their variants, why none before those."""
        groups: dict[tuple[Choice, ...], int] = {}
        for choices in self._by_process.values():
            groups[choices] = groups.get(choices, 0) + 1
        return [
            {"processes": count, "variants": facts_of(choices), "fallbacks": fallbacks(choices)}
            for choices, count in groups.items()
        ]

    def _show(self, one: Choice) -> None:
        """A gauge for each variant that ever ran."""
        key = (one.component, one.variant)
        if key in self._shown:
            return
        self._shown.add(key)

        def count() -> float:
            return float(
                sum(
                    (other.component, other.variant) == key
                    for choices in self._by_process.values()
                    for other in choices
                )
            )

        text = "Processes that run a variant of a component"
        labels = {"component": one.component, "variant": one.variant}
        self._metrics.gauge("variant_processes", text, count, engine=self.name, **labels)
