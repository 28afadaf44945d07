"""Planning while a cascade serves: from measured load to its settings.

Travels with exported cascades, so that their server plans as the Studio does.
Everything that goes in or out is a plain value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from studio.errors import NoPlan
from studio.plan.planner import plan
from studio.plan.profile import Device, Profile
from studio.plan.quality import Choices
from studio.plan.situation import Situation

DRAIN: Final = 5.0
"""Seconds in which what waits is to be gone."""

Values = Mapping[str, Any]


def make_planner(facts: Values, objective: float) -> Callable[[Values], dict[str, Any]]:
    """A planner for a cascade's manifest and a latency objective in seconds.

    It takes `{"load": ..., "settings": ...}` as the server measures and has
    them, and returns `threshold`, `light` and `heavy` (`batch`, `workers`) and
    a `note`.  The number of processes stays what it is; who draws what may change.
    """
    choices = choices_of(facts["cascade"]["curve"], facts["cascade"]["discriminator"]["metric"])

    def replan(situation: Values) -> dict[str, Any]:
        load, settings = situation["load"], situation["settings"]
        if load["demand"] <= 0 or not load["light_seconds"] or not load["heavy_seconds"]:
            return {"note": "Nothing was asked for lately; the settings stay."}
        try:
            found = plan(situation_of(load, settings, choices, objective))
        except NoPlan as error:
            return {
                "threshold": float(choices.thresholds[0]),
                "note": f"Nothing is deferred: {error}",
            }
        only = found.allocations[0]
        total = settings["light"]["workers"] + settings["heavy"]["workers"]
        light = min(max(1, only.light_workers), max(1, total - 1))
        # A model always keeps one process: somebody may ask for it by name.
        heavy = max(1, total - light)
        return {
            "threshold": found.threshold,
            "light": {"batch": only.light_batch, "workers": light},
            "heavy": {"batch": only.heavy_batch or settings["heavy"]["batch"], "workers": heavy},
            "note": (
                f"{load['demand']:.2f} pictures/s: {found.share:.0%} deferred, at most "
                f"{found.heavy_latency:.2f} s of {objective:g} s."
            ),
        }

    return replan


def choices_of(curve: Any, metric: str) -> Choices:
    """The thresholds of a manifest's curve; quality is higher where it is better there."""
    quality = np.array([one["quality"]["value"] for one in curve], dtype=np.float64)
    return Choices(
        thresholds=np.array([one["threshold"] for one in curve], dtype=np.float64),
        shares=np.array([one["share"] for one in curve], dtype=np.float64),
        quality=quality,
        loss=quality[-1] - quality,
        metric=metric,
        higher_is_better=True,
    )


def situation_of(load: Values, settings: Values, choices: Choices, objective: float) -> Situation:
    """What the planner needs, from what a server measures."""
    workers = (int(settings["light"]["workers"]), int(settings["heavy"]["workers"]))
    return Situation(
        devices=(
            Device(
                "this machine",
                sum(workers),
                _profile("light", load["light_seconds"], load["light_start"]),
                _profile("heavy", load["heavy_seconds"], load["heavy_start"]),
            ),
        ),
        choices=choices,
        demand=float(load["demand"]),
        latency=objective,
        batch_wait=float(settings["light"]["wait"]),
        light_backlog=load["light_queue"] / DRAIN,
        heavy_backlog=load["heavy_queue"] / DRAIN,
        now=(workers,),
    )


def _profile(name: str, seconds: Mapping[Any, float], start: float) -> Profile:
    return Profile.measured(
        name, {int(size): float(value) for size, value in seconds.items()}, load_seconds=float(start)
    )
