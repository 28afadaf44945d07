"""Prompts and seeds: what the gate, the clock and a certification ask for never overlaps.

For a model with the Tiny Scenes grammar they are held-out captions.  A user's
own prompts are used in turn; of many, a quarter is set aside for
certification, of few, only the seeds keep the three apart.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from engines.scenes import grammar

GATE_SEED: Final = 20_260
"""Decides the gate's captions, the same ones in every run, so that runs can be compared."""
MANY: Final = 24
"""Prompts of the user's own from which on a quarter is set aside."""
_TRIES: Final = 200
"""Captions in a row that were drawn before, after which all have been."""
_SEEDS: Final = 1 << 31
"""Seeds lie below it, the gate's as the others: nothing tells what a picture is for."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Prompts with the seed of each."""

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompts)

    def part(self, start: int, stop: int) -> Asked:
        return Asked(self.prompts[start:stop], self.seeds[start:stop])


class Prompts:
    """Draws prompts; `given` are the user's own, empty for captions of the grammar.

    `kept` is a file that remembers which captions were drawn, so that a run
    that goes on later certifies on none of them.
    """

    def __init__(self, given: tuple[str, ...] = (), kept: Path | None = None) -> None:
        aside = len(given) // 4 if len(given) >= MANY else 0
        self._given, self._aside = given[: len(given) - aside], given[len(given) - aside :]
        self._kept = kept
        self._seen: set[str] = set()
        if kept is not None and kept.is_file():
            self._seen |= set(kept.read_text(encoding="utf-8").splitlines())
        self._used: set[int] = set()

    def sealed_are(self, count: int) -> str:
        """What `count` sealed prompts are, for a certificate."""
        if not self._given:
            return f"{count} fresh held-out prompts."
        if self._aside:
            return f"{len(self._aside)} of your prompts that the search never drew, {count} new seeds."
        return f"Your own prompts, which the search has drawn too, with {count} new seeds."

    def gate(self, count: int) -> Asked:
        """The gate's prompts, the same at every call."""
        if self._given:
            chosen = _cycle(self._given, count, 0)
        else:
            chosen = tuple(grammar.captions(count, GATE_SEED))
            self._seen |= set(chosen)
        rng, seeds = np.random.default_rng(GATE_SEED), dict[int, None]()
        while len(seeds) < count:
            seeds[int(rng.integers(_SEEDS))] = None
        self._used |= set(seeds)
        return Asked(chosen, tuple(seeds))

    def fresh(self, count: int, *, sealed: bool = False) -> Asked:
        """Prompts that nobody has seen: drawn by the operating system's chance, after a candidate is loaded.

        No seed and, of thousands, no caption comes twice, so `sealed` ones, for certification, stay apart.
        """
        rng = np.random.default_rng(secrets.randbits(64))
        seeds = self._seeds(rng, count)
        if self._given:
            chosen = self._aside if sealed and self._aside else self._given
            return Asked(_cycle(chosen, count, int(rng.integers(len(chosen)))), seeds)
        drawn: list[str] = []
        while len(drawn) < count:
            texts = (grammar.sample(rng, split="held_out").caption for _ in range(_TRIES))
            caption = next((text for text in texts if text not in self._seen), None)
            if caption is None:
                self._seen.clear()  # of thousands nearly all were drawn: from the start again
                continue
            self._seen.add(caption)
            drawn.append(caption)
        self._remember(drawn)
        return Asked(tuple(drawn), seeds)

    def _remember(self, captions: list[str]) -> None:
        if self._kept is not None:
            with suppress(OSError):  # a full disk is told of by what must be written
                self._kept.parent.mkdir(parents=True, exist_ok=True)
                with self._kept.open("a", encoding="utf-8") as file:
                    file.writelines(f"{caption}\n" for caption in captions)

    def _seeds(self, rng: np.random.Generator, count: int) -> tuple[int, ...]:
        found: list[int] = []
        while len(found) < count:
            seed = int(rng.integers(_SEEDS))
            if seed not in self._used:
                self._used.add(seed)
                found.append(seed)
        return tuple(found)


def _cycle(texts: tuple[str, ...], count: int, start: int) -> tuple[str, ...]:
    return tuple(texts[(start + i) % len(texts)] for i in range(count))
