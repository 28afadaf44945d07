"""Who costs less, told on machines that other programs use: simulated, with seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from agent.evaluate import declared
from agent.evaluate.pairs import CALM, MOST, QUICK, costs_less

Pair = Callable[[], tuple[float, float]]
TIMES = 400


class Machine:
    """Calls that take 60 ms of an idle machine; in a burst, which comes half the time, 2 to 12 times that."""

    def __init__(self, seed: int, *, busy: bool) -> None:
        self._chance, self._busy, self._left, self._slow = np.random.default_rng(seed), busy, 0, 1.0
        self.pairs = 0

    def call(self, share: float = 1.0) -> float:
        if self._left <= 0:
            self._slow = self._chance.uniform(2, 12) if self._busy and self._chance.random() < 0.5 else 1.0
            self._left = int(self._chance.integers(1, 6))
        self._left -= 1
        return 0.06 * share * self._slow * float(self._chance.normal(1, 0.02))

    def pair(self, share: float) -> Pair:
        def one() -> tuple[float, float]:
            self.pairs += 1
            second = self.call()
            return self.call(share), second

        return one


@pytest.mark.parametrize("share", [0.7, 0.9])
def test_the_honest_are_not_accused_by_what_other_programs_do(share: float) -> None:
    accused = [costs_less(share, Machine(seed, busy=True).pair(1.0)) for seed in range(TIMES)]
    assert sum(found is not None for found in accused) <= 1


def test_who_costs_half_is_found_on_a_quiet_machine_and_nearly_always_on_a_busy_one() -> None:
    for seed in range(TIMES):
        machine = Machine(seed, busy=False)
        assert costs_less(0.9, machine.pair(0.5)) == pytest.approx(0.5, abs=0.05)
        assert machine.pairs == 10
    found = [costs_less(0.9, Machine(seed, busy=True).pair(0.5)) for seed in range(TIMES)]
    assert sum(one is not None for one in found) > 0.9 * TIMES


def test_the_honest_cost_three_pairs_on_a_quiet_machine() -> None:
    machine = Machine(1, busy=False)
    assert costs_less(0.9, machine.pair(1.0)) is None
    assert machine.pairs == QUICK


def test_what_stays_undecided_ends_and_is_no_evidence() -> None:
    count = 0

    def pair() -> tuple[float, float]:
        nonlocal count
        count += 1
        return (0.5, 1.0) if count % 8 % 3 else (2.0, 1.0)  # more than half accuse, never surely

    assert costs_less(0.9, pair) is None
    assert CALM <= count <= MOST


def test_a_call_that_nothing_was_counted_for_accuses_nobody() -> None:
    assert costs_less(0.7, lambda: (0.0, 0.0)) is None


def test_less_work_than_declared_is_seen_and_pairs_are_drawn_only_for_an_accusation() -> None:
    def never() -> tuple[float, float]:
        raise AssertionError

    assert declared.worked([0.19, 0.2, 0.18], [0.2, 0.2], never) == ""
    assert declared.worked([], [0.2], never) == ""
    assert "spends 50% of the CPU time" in declared.worked([0.1, 0.11], [0.2], lambda: (0.1, 0.2))
    assert declared.worked([0.1, 0.11], [0.9], lambda: (0.1, 0.1)) == ""  # the 0.9 were another's doing
