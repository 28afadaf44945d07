"""What can be met where an objective cannot: the nearest latency, load and number of workers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from studio.errors import NoPlan
from studio.plan.planner import feasible
from studio.plan.situation import Situation

_DOUBLINGS = 24
_HALVINGS = 30


def explain(situation: Situation) -> NoPlan:
    """Why nothing meets the situation, with the nearest that does."""
    if situation.workers < 1:
        return NoPlan("There are no workers; give at least one.")
    if not situation.allowed.any():
        least = float(situation.choices.loss.min())
        return NoPlan(
            f"No threshold loses at most {situation.max_loss:.3g} of {situation.choices.metric}; "
            f"the least that can be lost is {least:.3g}."
        )
    wanted = situation.latency
    # What can be met at all does not depend on the goal, and this one needs no solver.
    situation = replace(situation, goal="loss")
    objective = _least(lambda value: feasible(replace(situation, latency=value)) is not None, wanted)
    demand = _most(lambda value: feasible(replace(situation, demand=value)) is not None, situation.demand)
    workers = _fewest(situation)
    nearest = []
    if objective is not None:
        nearest.append(f"the nearest objective that can be met is {objective:g} s")
    if demand is not None:
        nearest.append(f"the nearest load is {demand:g} requests/s")
    if workers is not None:
        nearest.append(f"with {workers} workers it can be met")
    if not nearest:
        nearest.append("a lighter model, more head-room or a larger quality loss is needed")
    plural = "worker" if situation.workers == 1 else "workers"
    return NoPlan(
        f"No plan answers {situation.demand:g} requests/s within {wanted:g} s on {situation.workers} "
        f"{plural} with head-room {situation.headroom:g}; {', '.join(nearest)}.",
        objective=objective,
        demand=demand,
        workers=workers,
    )


def _least(works: Callable[[float], bool], start: float) -> float | None:
    """The least value above `start` that works, rounded up to three digits."""
    high = start
    for _ in range(_DOUBLINGS):
        high *= 2
        if works(high):
            break
    else:
        return None
    low = high / 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return _rounded(high, math.ceil)


def _most(works: Callable[[float], bool], start: float) -> float | None:
    """The largest value below `start` that works, rounded down to three digits."""
    low = start
    for _ in range(_DOUBLINGS):
        low /= 2
        if works(low):
            break
    else:
        return None
    high = low * 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if works(middle) else (low, middle)
    return _rounded(low, math.floor)


def _fewest(situation: Situation) -> int | None:
    """How many workers of the one kind would do."""
    if len(situation.devices) != 1:
        return None
    device = situation.devices[0]

    def works(count: float) -> bool:
        return (
            feasible(replace(situation, devices=(replace(device, workers=int(count)),), now=None)) is not None
        )

    low, high = device.workers, device.workers
    for _ in range(_DOUBLINGS):
        high *= 2
        if works(high):
            break
    else:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high


def _rounded(value: float, how: Callable[[float], int]) -> float:
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{how(value / step) * step:.12g}")
