"""Whether one of two that take turns costs less, on a machine that other programs use too.

Other work makes a call slower and, since the threads of a numeric library
spin while they wait for each other, dearer in CPU time as well: by any factor,
at any time.  What two medians of a few calls tell then is chance.  So calls
are drawn in pairs, and an accusation needs a sign test: where both cost the
same, a pair is as likely to come out one way as the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

QUICK: Final = 3
"""Pairs that acquit when none of them accuses."""
CALM: Final = 8
"""Pairs after which the middle one acquits."""
MOST: Final = 24
SURE: Final = 0.001
"""Probability of so many accusing pairs by chance, below which they are believed."""


def costs_less(share: float, pair: Callable[[], tuple[float, float]]) -> float | None:
    """What the first of a pair costs of the second (middle of all pairs), where that is surely below `share`.

    `None` where it is not; what stays undecided after `MOST` pairs is no evidence either.
    """
    from scipy.stats import binomtest

    ratios: list[float] = []
    while len(ratios) < MOST:
        first, second = pair()
        ratios.append(first / second if second > 0 else np.inf)
        count, below = len(ratios), sum(ratio < share for ratio in ratios)
        middle = float(np.median(ratios))
        if (count >= QUICK and not below) or (count >= CALM and middle >= share):
            return None
        if middle < share and binomtest(below, count, 0.5, "greater").pvalue < SURE:
            return middle
    return None
