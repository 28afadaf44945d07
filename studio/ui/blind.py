"""Blind choice between two candidates: random sides, hidden names, an honest tally.

Two-alternative forced choice with "can't tell" (arXiv 2305.00220); the
interval of B's share is Clopper and Pearson's exact one over decided trials.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from math import comb
from typing import Literal

Answer = Literal["left", "right", "same"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One pair: which prompt, and whether B stands at the left."""

    row: int
    b_left: bool


@dataclass(slots=True)
class Session:
    """A sequence of trials in random order with random sides; the seed is kept with the answers."""

    rows: int
    seed: int
    answers: list[Answer] = field(default_factory=list)
    trials: list[Trial] = field(init=False)

    def __post_init__(self) -> None:
        draw = random.Random(self.seed)
        order = list(range(self.rows))
        draw.shuffle(order)
        # Balanced sides: a habit of choosing one side must not favour A or B.
        sides = [at % 2 == 0 for at in range(self.rows)]
        draw.shuffle(sides)
        self.trials = [Trial(row, side) for row, side in zip(order, sides, strict=True)]

    @property
    def current(self) -> Trial | None:
        return self.trials[len(self.answers)] if len(self.answers) < len(self.trials) else None

    def answer(self, given: Answer) -> None:
        if self.current is not None:
            self.answers.append(given)

    def undo(self) -> None:
        if self.answers:
            self.answers.pop()

    def tally(self) -> Tally:
        a = b = same = 0
        for trial, given in zip(self.trials, self.answers, strict=False):
            if given == "same":
                same += 1
            elif (given == "left") == trial.b_left:
                b += 1
            else:
                a += 1
        return Tally(a, b, same)


@dataclass(frozen=True, slots=True)
class Tally:
    """How often A, B or neither was preferred."""

    a: int
    b: int
    same: int

    @property
    def decided(self) -> int:
        return self.a + self.b

    def interval(self) -> tuple[float, float]:
        """Exact 95 % interval of the share of decided trials that B won."""
        return exact_interval(self.b, self.decided)

    def verdict(self, a: str, b: str) -> str:
        """The outcome as one sentence."""
        if not self.decided:
            return "Nothing was decided: the two could not be told apart."
        low, high = self.interval()
        head = f"{b} was preferred {self.b} of {self.decided} times (95 %: {low:.0%} to {high:.0%})"
        tail = f", {self.same} could not be told apart" if self.same else ""
        if low > 0.5:
            return f"{head}{tail}: it looks better than {a}."
        if high < 0.5:
            return f"{head}{tail}: {a} looks better."
        return f"{head}{tail}: no preference is shown."


def exact_interval(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a proportion, by bisection on the binomial tail."""
    if trials == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2

    def at_least(share: float) -> float:
        return sum(comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(hits, trials + 1))

    def at_most(share: float) -> float:
        return sum(comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(hits + 1))

    def solve(rising: bool) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            above = at_least(middle) > tail if rising else at_most(middle) < tail
            low, high = (low, middle) if above else (middle, high)
        return (low + high) / 2

    return (0.0 if hits == 0 else solve(True)), (1.0 if hits == trials else solve(False))
