"""What this machine can run, what it can only build for, and why.

`targets` asks every engine that serves a device, which look for packages and
drivers without importing or starting them.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from engines import drivers
from engines.backends import backend
from engines.backends.serves import SERVES
from engines.measure import rates
from engines.package.processors import cores

if TYPE_CHECKING:
    from engines.backends.base import Availability, Backend

State = Literal["ready", "build_only", "missing"]


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """One of the engines that serve a device; mirrors `studio.record.events.EngineState`."""

    title: str
    state: State
    reason: str
    """Of a ready engine, what it is and what it does not do for want of a package."""
    install: str = ""
    """What would add the engine here, or what a ready one does without; empty where no package would."""


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """One device with the engine that serves it; mirrors `studio.record.events.TargetState`."""

    id: str
    name: str
    engine: str
    state: State
    reason: str
    install: str = ""
    gflops: float | None = None
    """Best measured rate in fp32, once `engines.measure.rates` has measured it here."""
    gbytes: float | None = None
    """Memory bandwidth in GB/s, likewise."""
    engines: tuple[EngineInfo, ...] = ()
    """Every engine that serves the device, the plain one first."""


NAMES: Final[Mapping[str, str]] = {
    "cuda": "NVIDIA GPU",
    "intel-gpu": "Intel GPU",
    "intel-npu": "Intel NPU",
    "directml": "Any DirectX 12 GPU",
    "windowsml": "Windows ML",
    "mps": "Apple GPU (torch)",
    "mlx": "Apple GPU (MLX)",
    "coreml": "Apple Neural Engine (Core ML)",
}
FIRST: Final[Mapping[str, str]] = {"cpu": "openvino", "cuda": "tensorrt"}
"""Engine named for a device where several serve it and it is ready; else the first one that can be used."""


def targets() -> list[TargetInfo]:
    """Every device the Studio knows of, in the order of the Device step; under two seconds."""
    return [_target(device) for device in SERVES]


def _target(device: str) -> TargetInfo:
    """The best that any engine of a device can do here, with its reason."""
    found = [(backend(name), backend(name).probe(device)) for name in SERVES[device]]
    engines = tuple(_engine(device, engine, one) for engine, one in found)
    for state in ("ready", "build_only"):
        able = [(engine, one) for engine, one in found if one.state == state]
        if able:
            best = next((pair for pair in able if pair[0].name == FIRST.get(device)), able[0])
            return _described(device, best[0].title, state, _reason(device, able, best[1]), "", engines)
    best = next((pair for pair in found if pair[0].name == FIRST.get(device)), found[0])
    # A missing device is said before a missing package: installing the package would not help.
    absent = best[0].absent(device)
    install = next((one.install for _, one in found if one.install), "") if not absent else best[1].install
    reason = f"{absent}; {best[1].reason}" if absent and best[1].reason != absent else best[1].reason
    return _described(device, best[0].title, "missing", reason, install, engines)


def _engine(device: str, engine: Backend, found: Availability) -> EngineInfo:
    """What an engine can do here; its package alone would not help where it serves present devices only."""
    reason = f"{found.reason}, without {found.without}" if found.without else found.reason
    helpless = engine.absent(device) and not engine.builds_anywhere
    install = engine.remedy(device) if helpless else found.install
    return EngineInfo(engine.title, found.state, reason, install)


def _reason(device: str, able: Sequence[tuple[Backend, Availability]], best: Availability) -> str:
    if best.state == "build_only":
        return best.reason
    engines = ", ".join(one.reason for _, one in able)
    return f"{engines} on {cores()} cores" if device == "cpu" else engines


def _described(
    device: str, engine: str, state: State, reason: str, install: str, engines: tuple[EngineInfo, ...]
) -> TargetInfo:
    known = rates.known(device)
    flops = known.get("flops", {})
    return TargetInfo(
        device, device_name(device), engine, state, reason, install,
        gflops=round(flops["fp32"] / 1e9, 1) if "fp32" in flops else None,
        gbytes=round(known["bandwidth"] / 1e9, 1) if "bandwidth" in known else None,
        engines=engines,
    )  # fmt: skip


def device_name(device: str) -> str:
    """The processor or the card behind a device, as it calls itself; else what the device is called."""
    if device == "cuda" and (cards := drivers.nvidia_cards()):
        return cards[0].name
    return processor_name() if device == "cpu" else NAMES[device]


@lru_cache(maxsize=1)
def processor_name() -> str:
    """As the machine calls it, for example `Intel(R) Xeon(R) Processor`."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "CPU"
