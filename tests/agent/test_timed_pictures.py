"""Whether pictures of timed calls are as good as the gate's: few against many."""

from __future__ import annotations

import numpy as np

from agent.evaluate.measure import _worse_when_timed

SPREAD = 3.0
"""dB by which a distilled student's pictures differ from prompt to prompt."""


def accused(drop: float, tries: int = 2000) -> float:
    """Share of scripts accused whose three timed pictures are that many dB worse in the mean."""
    chance = np.random.default_rng(7)
    found = 0
    for _ in range(tries):
        gate = chance.normal(27.0, SPREAD, 16)
        timed = [chance.normal(27.0 - drop, SPREAD, 1) for _ in range(3)]
        found += bool(_worse_when_timed("psnr", gate, timed, 3.0))
    return found / tries


def test_an_honest_script_is_not_accused_because_three_pictures_lie_close_together() -> None:
    assert accused(0.0) == 0


def test_a_script_that_takes_few_steps_when_it_is_timed_is_accused() -> None:
    assert accused(18.0) > 0.99
    assert _worse_when_timed("psnr", np.full(16, 60.0), [np.array([20.0]), np.array([24.0])], 3.0)
