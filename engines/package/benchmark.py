"""How fast a package is on this machine; travels inside it (standard library and numpy)."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from engines.package.variants import facts_of

if TYPE_CHECKING:
    from engines.package.runner import Package

PICTURES: Final = 5


def benchmark(package: Package, pictures: int = PICTURES) -> dict[str, Any]:
    """Seconds per picture at batch 1, warm, each with a seed of its own.

    Returns:
        `seconds`: {`median`, `p90`, `least`}, `stages`: {name: median}, `pictures`, `load_seconds` (engines,
        the first picture, which does not count), `memory` (the process's peak in MiB; `None` where the system
        does not say), `checked`: {`bytes`, `seconds`} of taking digests, `variants`, `maker`: what its maker
        measured, and on what.
    """
    golden = package.facts["golden"]
    start = time.perf_counter()
    loop = package.loop()
    loop.generate([golden["prompt"]], [golden["seed"]])
    loaded = time.perf_counter() - start
    seconds: list[float] = []
    stages: dict[str, list[float]] = {}
    for at in range(pictures):
        start = time.perf_counter()
        made = loop.generate([golden["prompt"]], [golden["seed"] + 1 + at])
        seconds.append(time.perf_counter() - start)
        for name, value in made.seconds.items():
            stages.setdefault(name, []).append(value)
    return {
        "seconds": {
            "median": float(np.median(seconds)),
            "p90": float(np.quantile(seconds, 0.9)),
            "least": min(seconds),
        },
        "stages": {name: float(np.median(values)) for name, values in stages.items()},
        "pictures": pictures,
        "load_seconds": loaded,
        "memory": _peak(),
        "checked": {"bytes": package.seal.bytes, "seconds": package.seal.seconds},
        "variants": facts_of(package.choices.values()),
        "maker": _maker(package.facts),
    }


def _peak() -> float | None:
    if sys.platform == "win32":
        return None
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)


def _maker(facts: dict[str, Any]) -> dict[str, Any] | None:
    latency = facts["evidence"].get("latency")
    if not latency:
        return None
    return {"seconds": latency["seconds"]["value"], "measured_on": latency["measured_on"]}


def sentence(found: dict[str, Any]) -> str:
    """What a person is told."""
    seconds, memory = found["seconds"], found["memory"]
    text = (
        f"{seconds['median']:.3f} s a picture (median of {found['pictures']}, 90 % within "
        f"{seconds['p90']:.3f} s), the first after {found['load_seconds']:.2f} s"
    )
    text += f", {memory:.0f} MiB at most" if memory is not None else ""
    text += f", {found['checked']['bytes'] / 1e6:.0f} MB checked in {found['checked']['seconds']:.2f} s"
    if maker := found["maker"]:
        text += f"; its maker measured {maker['seconds']:.3f} s on {maker['measured_on']}"
    return f"{text}."
