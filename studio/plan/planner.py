"""Threshold, batch sizes and workers for a load and a latency objective: exact, by enumeration.

The programme is DiffServe's (MLSys 2025, arXiv 2411.15381), with measured
quality in place of the threshold as the default goal, and with discriminator,
tail, waits, swaps and mixed devices in its rows:

    x1 + x2 <= S
    x1 T1(b1) >= h D                     T(b) = b / seconds(b), h: head-room
    x2 T2(b2) >= h D f(t)
    e1(b1) + w1 + e2(b2) + w2 <= L       the heavy terms only where something is deferred

For a threshold and two batch sizes the fewest workers follow at once, so with
one kind of device there are only thresholds x batches x batches cases,
whatever the number of workers: that number is not what makes planning hard.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from studio.plan.situation import Allocation, Floats, Plan, Situation, gain, latencies, stage

_ROUNDING = 1e-9


def plan(situation: Situation) -> Plan:
    """The best plan.

    Raises:
        NoPlan: nothing meets the objective; the error says the nearest that can be met.
    """
    found = feasible(situation)
    if found is None:
        from studio.plan.nearest import explain

        raise explain(situation)
    return found


def feasible(situation: Situation) -> Plan | None:
    """The best plan, or `None` where nothing meets the objective."""
    usable = tuple(device for device in situation.devices if device.workers > 0)
    if not usable:
        return None
    if len(usable) == 1:
        at = situation.devices.index(usable[0])
        only = None if situation.now is None else (situation.now[at],)
        found = _one_kind(replace(situation, devices=usable, now=only))
    else:
        from studio.plan.mixed import many_kinds

        kept = [at for at, device in enumerate(situation.devices) if device.workers > 0]
        now = None if situation.now is None else tuple(situation.now[at] for at in kept)
        found = many_kinds(replace(situation, devices=usable, now=now))
    if found is None or len(usable) == len(situation.devices):
        return found
    by_name = {one.device: one for one in found.allocations}
    unused = [by_name.get(device.name, Allocation(device.name, 0, 0, 0, 0)) for device in situation.devices]
    return replace(found, allocations=tuple(unused))


def workers_needed(
    rate: Floats | float, throughput: Floats, now: int | None = None, share: float = 1.0
) -> Floats:
    """Fewest whole workers for `rate`; those beyond `now` serve only `share` of the time (inf where none)."""
    load = np.asarray(rate / throughput, dtype=np.float64)
    if now is not None and share < 1:
        beyond = np.full_like(load, np.inf) if share <= 0 else now + (load - now) / share
        load = np.where(load <= now + _ROUNDING, load, beyond)
    return np.ceil(load - _ROUNDING)


def first_best(allowed: NDArray[np.bool_], *keys: Floats) -> int | None:
    """Flat index of the allowed entry that is least by the first key, then the second, and so on."""
    open_ = np.flatnonzero(allowed)
    if open_.size == 0:
        return None
    for key in keys:
        values = key.ravel()[open_]
        open_ = open_[values <= values.min() + _ROUNDING]
    return int(open_[0])


def _one_kind(situation: Situation) -> Plan | None:
    device = situation.devices[0]
    light, heavy = stage(device, False, situation.tail), stage(device, True, situation.tail)
    choices = situation.choices
    now = situation.now[0] if situation.now is not None else (None, None)
    first = np.maximum(
        1.0,
        workers_needed(situation.needed, light.throughput, now[0], gain(light.load_seconds, situation)),
    )
    second = workers_needed(
        situation.needed_heavy[:, None],
        heavy.throughput[None, :],
        now[1],
        gain(heavy.load_seconds, situation),
    )
    light_latency = latencies(situation, light, heavy=False)
    heavy_latency = latencies(situation, heavy, heavy=True)
    deferred = choices.shares > 0
    total = first[None, :, None] + second[:, None, :]
    seconds = (
        light_latency[None, :, None] + np.where(deferred[:, None], heavy_latency[None, :], 0.0)[:, None, :]
    )
    ok = (
        (total <= device.workers)
        & (seconds <= situation.latency + _ROUNDING)
        & situation.allowed[:, None, None]
    )
    loss = np.broadcast_to(choices.loss[:, None, None], total.shape)
    if situation.pinned and now[0] is not None and now[1] is not None:
        ok &= (first <= now[0])[None, :, None] & (second <= now[1])[:, None, :]
    if situation.goal == "threshold":
        keys = (
            np.broadcast_to(-np.arange(len(choices), dtype=float)[:, None, None], total.shape),
            total,
            seconds,
        )
    elif situation.goal == "loss":
        keys = (loss, total, seconds)
    else:
        keys = (total, loss, seconds)
    best = first_best(ok, *keys)
    if best is None:
        return None
    k, at1, at2 = (int(index) for index in np.unravel_index(best, total.shape))
    fewest = (int(first[at1]), int(second[k, at2]))
    x1, x2 = _spread(
        situation,
        fewest,
        situation.needed / light.throughput[at1],
        float(situation.needed_heavy[k] / heavy.throughput[at2]),
    )
    allocation = Allocation(device.name, x1, x2, int(light.sizes[at1]), int(heavy.sizes[at2]) if x2 else 0)
    return finished(situation, k, (allocation,), exact=True)


def _spread(situation: Situation, fewest: tuple[int, int], load1: float, load2: float) -> tuple[int, int]:
    """Workers by model once those that are left have something to do.

    DiffServe's rest goes to heavy.  Ours evens out the use, or, where swaps
    take time, moves no worker that need not move.
    """
    if situation.pinned and situation.now is not None:
        return situation.now[0]
    low, high = fewest[0], situation.devices[0].workers - fewest[1]
    if situation.goal in ("workers", "cost"):
        return fewest
    total = situation.devices[0].workers
    if situation.goal == "threshold":
        return low, total - low
    device = situation.devices[0]
    swaps = device.light.load_seconds + device.heavy.load_seconds
    if situation.now is not None and swaps > 0 and sum(situation.now[0]) == total:
        wanted = situation.now[0][0]
    else:
        wanted = round(total * load1 / (load1 + load2)) if load1 + load2 > 0 else total
    x1 = min(max(wanted, low), high)
    return x1, total - x1


def finished(situation: Situation, k: int, allocations: tuple[Allocation, ...], *, exact: bool) -> Plan:
    """A plan with everything that follows from threshold `k` and the allocations."""
    choices = situation.choices
    capacity = [0.0, 0.0]
    latency = [0.0, 0.0]
    cost = 0.0
    for device, one in zip(situation.devices, allocations, strict=True):
        cost += device.cost * (one.light_workers + one.heavy_workers)
        for heavy, count, batch in (
            (False, one.light_workers, one.light_batch),
            (True, one.heavy_workers, one.heavy_batch),
        ):
            if not count or not batch:
                continue
            rows = stage(device, heavy, situation.tail)
            at = int(np.searchsorted(rows.sizes, batch))
            capacity[heavy] += count * float(rows.throughput[at])
            latency[heavy] = max(latency[heavy], float(latencies(situation, rows, heavy=heavy)[at]))
    share = float(choices.shares[k])
    return Plan(
        threshold=float(choices.thresholds[k]),
        share=share,
        loss=float(choices.loss[k]),
        quality=float(choices.quality[k]),
        allocations=allocations,
        light_latency=latency[0],
        heavy_latency=latency[0] + (latency[1] if share > 0 else 0.0),
        light_use=situation.demand / capacity[0] if capacity[0] else 0.0,
        heavy_use=situation.demand * share / capacity[1] if capacity[1] else 0.0,
        cost=cost,
        exact=exact,
    )
