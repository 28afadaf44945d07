"""Prompts and seeds: what the gate, the clock and a certification ask for never overlaps.

For a model with the Tiny Scenes grammar they are held-out captions; a user's
own prompts are used in turn, with seeds that keep the three apart.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

import numpy as np

from engines.scenes import grammar

GATE_SEED: Final = 20_260
"""Decides the gate's captions, the same ones in every run, so that runs can be compared."""
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
    """Draws prompts; `given` are the user's own, empty for captions of the grammar."""

    def __init__(self, given: tuple[str, ...] = ()) -> None:
        self._given = given
        self._seen: set[str] = set()
        self._used: set[int] = set()

    def gate(self, count: int) -> Asked:
        """The gate's prompts, the same at every call."""
        if self._given:
            chosen = self._cycle(count, 0)
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

        No seed and no caption comes twice, so `sealed` ones, for certification, stay apart.
        """
        del sealed
        rng = np.random.default_rng(secrets.randbits(64))
        seeds = self._seeds(rng, count)
        if self._given:
            return Asked(self._cycle(count, int(rng.integers(len(self._given)))), seeds)
        chosen: list[str] = []
        while len(chosen) < count:
            caption = grammar.sample(rng, split="held_out").caption
            if caption not in self._seen:
                self._seen.add(caption)
                chosen.append(caption)
        return Asked(tuple(chosen), seeds)

    def _seeds(self, rng: np.random.Generator, count: int) -> tuple[int, ...]:
        found: list[int] = []
        while len(found) < count:
            seed = int(rng.integers(_SEEDS))
            if seed not in self._used:
                self._used.add(seed)
                found.append(seed)
        return tuple(found)

    def _cycle(self, count: int, start: int) -> tuple[str, ...]:
        return tuple(self._given[(start + i) % len(self._given)] for i in range(count))
