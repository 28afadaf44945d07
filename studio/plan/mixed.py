"""Planning for several kinds of device at once.

Given how much of the objective the light stage may use, each kind takes its
quickest batch size within it; what is left is who draws light.  Giving light
to the kinds that are relatively worst at heavy is best but for rounding
(comparative advantage: the linear relaxation), so whole numbers are searched
around that point.  Where the best threshold equals that of the relaxation the
plan is shown to be the best (`Plan.exact`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from studio.plan.planner import finished, first_best
from studio.plan.situation import Allocation, Floats, Plan, Situation, Stage, gain, latencies, stage

_ALL: Final = 20_000
"""Divisions of a fleet up to which every one is tried."""
_EPS: Final = 1e-9


@dataclass(frozen=True, eq=False, slots=True)
class _Cut:
    """Batch sizes by device for one division of the latency objective; arrays (g,)."""

    light_batch: NDArray[np.int64]
    heavy_batch: NDArray[np.int64]
    light: Floats
    """Images per second of one worker, 0 where no batch is quick enough."""
    heavy: Floats


def many_kinds(situation: Situation) -> Plan | None:
    """The best plan for two or more kinds of device, or `None`."""
    if situation.goal in ("workers", "cost"):
        return _least(situation)
    found = [one for cut in _cuts(situation) if (one := _strongest(situation, cut)) is not None]
    if situation.goal == "threshold":
        return _first(found, lambda one: (-one.share, one.heavy_latency))
    return _first(found, lambda one: (one.loss, one.heavy_latency))


def _least(situation: Situation) -> Plan | None:
    """Fewest workers or least cost.

    A cut is solved only where what it must cost at least is below the best so
    far; of cuts that must cost as much, the one with the quickest light stage
    comes first.
    """
    allowed = np.flatnonzero(situation.allowed)
    if allowed.size == 0:
        return None
    price = _prices(situation)

    def spent(one: Plan) -> float:
        return one.cost if situation.goal == "cost" else float(one.light_workers + one.heavy_workers)

    k = int(allowed[0])
    found: list[Plan] = []
    least = np.inf
    everything = _everything(situation)
    bounds = [(_at_least(situation, cut, k, price), cut) for cut in _cuts(situation)]
    for bound, cut in sorted(bounds, key=lambda pair: pair[0]):
        if np.isinf(bound) or bound >= least - _EPS * max(1.0, bound):
            break
        if everything is not None:
            one = _cheapest_of(situation, cut, k, price, everything)
        else:
            one = _cheapest(situation, cut, k, price)
        if one is not None:
            found.append(one)
            least = min(least, spent(one))
    return _first(found, lambda one: (spent(one), one.loss, one.heavy_latency))


def _first(found: list[Plan], key: Callable[[Plan], tuple[float, ...]]) -> Plan | None:
    return min(found, key=lambda one: tuple(round(value, 9) for value in key(one)), default=None)


def _prices(situation: Situation) -> Floats:
    """What one worker of each kind counts for, (g,)."""
    return np.array([device.cost if situation.goal == "cost" else 1.0 for device in situation.devices])


def _kept(situation: Situation) -> tuple[Floats, Floats]:
    """(2, g) each, light and heavy: workers that hold the model already; the share that others serve."""
    kept, shares = np.zeros((2, len(situation.devices))), np.zeros((2, len(situation.devices)))
    for heavy in (False, True):
        for at, device in enumerate(situation.devices):
            now = device.workers if situation.now is None else situation.now[at][heavy]
            kept[int(heavy), at] = min(now, device.workers)
            shares[int(heavy), at] = gain((device.heavy if heavy else device.light).load_seconds, situation)
    return kept, shares


def _at_least(situation: Situation, cut: _Cut, k: int, price: Floats) -> float:
    """What no division can cost less than: fractions of workers, each model as if it had all of them."""
    sizes = np.array([device.workers for device in situation.devices], dtype=np.float64)
    kept, shares = _kept(situation)
    unit = _unit(price)
    total = 0.0
    rows = ((cut.light, situation.needed), (cut.heavy, float(situation.needed_heavy[k])))
    for (rates, needed), own, share in zip(rows, kept, shares, strict=True):
        speed = np.concatenate([rates, rates * share])
        count = np.concatenate([own, sizes - own])
        part = 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            order = np.argsort(np.where(speed > 0, np.tile(price, 2) / speed, np.inf), kind="stable")
        for at in order:
            if needed <= 0 or speed[at] <= 0:
                break
            taken = min(float(count[at]), needed / float(speed[at]))
            needed -= taken * float(speed[at])
            part += taken * float(np.tile(price, 2)[at])
        if needed > _EPS:
            return float("inf")
        total += np.ceil(part / unit - _EPS) * unit if unit else part
    return float(total)


def _unit(price: Floats) -> float:
    """What every cost is a whole number of, or 0 where the prices have nothing in common."""
    whole = np.rint(price * 1000)
    if np.abs(whole - price * 1000).max() > _EPS:
        return 0.0
    return float(np.gcd.reduce(whole.astype(np.int64))) / 1000


def _everything(situation: Situation) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Every number of light and of heavy workers, (n, g) each; `None` where there are too many."""
    sizes = [device.workers for device in situation.devices]
    if np.prod([(size + 1.0) * (size + 2.0) / 2 for size in sizes]) > _ALL:
        return None
    each = [[(a, b) for a in range(size + 1) for b in range(size + 1 - a)] for size in sizes]
    grid = np.stack(np.meshgrid(*[np.arange(len(one)) for one in each], indexing="ij"), axis=-1)
    picked = grid.reshape(-1, len(each))
    both = np.stack([np.array(one)[picked[:, at]] for at, one in enumerate(each)], axis=1)
    return both[:, :, 0], both[:, :, 1]


def _cheapest_of(
    situation: Situation,
    cut: _Cut,
    k: int,
    price: Floats,
    everything: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> Plan | None:
    """As `_cheapest`, by trying every division of a small fleet."""
    first, second = everything
    enough = _capacity(situation, first, cut.light, heavy=False) >= situation.needed * (1 - _EPS)
    needed = float(situation.needed_heavy[k])
    enough &= _capacity(situation, second, cut.heavy, heavy=True) >= needed * (1 - _EPS)
    best = first_best(enough, (first + second) @ price, second.sum(axis=1).astype(float))
    if best is None:
        return None
    return finished(situation, k, _allocations(situation, cut, first[best], second[best]), exact=True)


def _cuts(situation: Situation) -> list[_Cut]:
    rows = [
        (stage(device, False, situation.tail), stage(device, True, situation.tail))
        for device in situation.devices
    ]
    seconds = [
        (latencies(situation, light, heavy=False), latencies(situation, heavy, heavy=True))
        for light, heavy in rows
    ]
    bounds = sorted({float(value) for light, _ in seconds for value in light if value <= situation.latency})
    cuts = []
    for bound in bounds:
        light = [_quickest(row[0], time[0], bound) for row, time in zip(rows, seconds, strict=True)]
        heavy = [
            _quickest(row[1], time[1], situation.latency - bound)
            for row, time in zip(rows, seconds, strict=True)
        ]
        cuts.append(
            _Cut(
                np.array([size for size, _ in light]),
                np.array([size for size, _ in heavy]),
                np.array([rate for _, rate in light]),
                np.array([rate for _, rate in heavy]),
            )
        )
    return cuts


def _quickest(rows: Stage, seconds: Floats, bound: float) -> tuple[int, float]:
    """Batch size with the most images per second among those within the bound."""
    within = np.flatnonzero(seconds <= bound + _EPS)
    if within.size == 0:
        return 0, 0.0
    at = int(within[np.argmax(rows.throughput[within])])
    return int(rows.sizes[at]), float(rows.throughput[at])


def _strongest(situation: Situation, cut: _Cut) -> Plan | None:
    """The division with the most heavy images per second, and the best threshold that it can serve."""
    sizes = np.array([device.workers for device in situation.devices])
    divisions, complete = _divisions(sizes, cut, situation)
    others = sizes - divisions
    if situation.pinned and situation.now is not None:
        divisions, complete = np.array([[light for light, _ in situation.now]]), True
        others = np.array([[heavy for _, heavy in situation.now]])
    light = _capacity(situation, divisions, cut.light, heavy=False)
    heavy = _capacity(situation, others, cut.heavy, heavy=True)
    enough = light >= situation.needed * (1 - _EPS)
    best = first_best(enough, -heavy, divisions.sum(axis=1).astype(float))
    if best is None:
        return None
    served = np.flatnonzero(situation.allowed & (situation.needed_heavy <= heavy[best] * (1 + _EPS) + _EPS))
    if served.size == 0:
        return None
    if situation.goal == "threshold":
        k = int(served[-1])
    else:
        least = situation.choices.loss[served]
        k = int(served[np.flatnonzero(least <= least.min() + _EPS)[0]])
    bound = _relaxed(situation, sizes, cut)
    reachable = np.flatnonzero(situation.allowed & (situation.needed_heavy <= bound * (1 + _EPS) + _EPS))
    exact = complete or reachable[-1] == served[-1]
    allocations = _allocations(situation, cut, divisions[best], others[best])
    return finished(situation, k, allocations, exact=bool(exact))


def _divisions(sizes: NDArray[np.int64], cut: _Cut, situation: Situation) -> tuple[NDArray[np.int64], bool]:
    """Numbers of light workers to try, (n, g), and whether these are all there are."""
    if np.prod(sizes + 1.0) <= _ALL:
        axes = [np.arange(size + 1) for size in sizes]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, sizes.size), True
    reach = 3 if sizes.size <= 4 else 1
    centres = [_vertex(sizes, cut, situation.needed)]
    if situation.now is not None:
        centres.append(np.array([light for light, _ in situation.now], dtype=np.float64))
    found = []
    for centre in centres:
        axes = [
            np.unique(np.clip(np.arange(int(at) - reach, int(at) + reach + 2), 0, size))
            for at, size in zip(centre, sizes, strict=True)
        ]
        found.append(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, sizes.size))
    return np.concatenate(found), False


def _vertex(sizes: NDArray[np.int64], cut: _Cut, needed: float) -> Floats:
    """Light workers of the linear relaxation, (g,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(cut.light > 0, cut.heavy / cut.light, np.inf)
    x1 = np.zeros(sizes.size)
    for at in np.argsort(ratio, kind="stable"):
        if needed <= 0 or cut.light[at] <= 0:
            break
        x1[at] = min(float(sizes[at]), needed / cut.light[at])
        needed -= x1[at] * cut.light[at]
    return x1


def _relaxed(situation: Situation, sizes: NDArray[np.int64], cut: _Cut) -> float:
    """Heavy images per second that no division exceeds."""
    return float(((sizes - _vertex(sizes, cut, situation.needed)) * cut.heavy).sum())


def _capacity(situation: Situation, counts: NDArray[np.int64], rates: Floats, *, heavy: bool) -> Floats:
    """Images per second of each division, (n,), swaps taken off."""
    serving = counts.astype(np.float64)
    if situation.now is not None:
        for at, device in enumerate(situation.devices):
            now = situation.now[at][heavy]
            share = gain((device.heavy if heavy else device.light).load_seconds, situation)
            extra = np.maximum(0.0, serving[:, at] - now)
            serving[:, at] -= extra * (1 - share)
    return np.asarray(serving @ rates, dtype=np.float64)


def _cheapest(situation: Situation, cut: _Cut, k: int, price: Floats) -> Plan | None:
    """Fewest workers or least cost for the share of threshold `k`: two covering rows, by HiGHS.

    Each count is split into workers that hold the model already and those
    that must load it, which serve only a part of the horizon.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    groups = len(situation.devices)
    sizes = np.array([device.workers for device in situation.devices], dtype=np.float64)
    kept, shares = _kept(situation)
    # x = [light kept (g), heavy kept (g), light loaded (g), heavy loaded (g)]
    rates = np.concatenate([cut.light, cut.heavy])
    upper = np.concatenate([kept.ravel(), np.tile(sizes, 2)])
    rows = np.zeros((2 + groups, 4 * groups))
    speed = np.concatenate([rates, rates * shares.ravel()])
    for at in range(groups):
        for block in range(4):
            rows[2 + at, block * groups + at] = 1
            rows[block % 2, block * groups + at] = speed[block * groups + at]
    needed = [max(situation.needed, 1e-12), float(situation.needed_heavy[k])]
    # A worker to load costs a trifle more, so that ties keep what is loaded.
    result = milp(
        np.concatenate([np.tile(price, 2), np.tile(price, 2) * (1 + 1e-7) + 1e-9]),
        integrality=np.ones(4 * groups, dtype=np.int64),
        bounds=Bounds(np.zeros(4 * groups), upper),
        constraints=LinearConstraint(rows, [*needed, *([-np.inf] * groups)], [np.inf, np.inf, *sizes]),
        options={"mip_rel_gap": 0.0},
    )
    if not result.success:
        return None
    counts = np.rint(result.x).astype(np.int64).reshape(4, groups)
    return finished(
        situation, k, _allocations(situation, cut, counts[0] + counts[2], counts[1] + counts[3]), exact=True
    )


def _allocations(
    situation: Situation, cut: _Cut, x1: NDArray[np.int64], x2: NDArray[np.int64]
) -> tuple[Allocation, ...]:
    """Batches only where there are workers, and workers only where a batch is quick enough."""
    made = []
    for at, device in enumerate(situation.devices):
        light = int(x1[at]) if cut.light[at] > 0 else 0
        heavy = int(x2[at]) if cut.heavy[at] > 0 else 0
        made.append(
            Allocation(
                device.name,
                light,
                heavy,
                int(cut.light_batch[at]) if light else 0,
                int(cut.heavy_batch[at]) if heavy else 0,
            )
        )
    return tuple(made)
