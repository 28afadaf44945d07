"""What hardware and drivers are here, read off files, the registry and `nvidia-smi`; nothing is imported.

Each function returns why a device cannot be used from this machine, as the end
of a sentence, or an empty text where it can.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from engines import installing

INTEL: Final = "0x8086"
DISPLAYS: Final = "{4d36e968-e325-11ce-bfc1-08002be10318}"
ACCELERATORS: Final = "{f01a9d53-3ff6-48d2-9f97-c8a7004be10c}"
"""Classes of devices in the Windows registry: display adapters, compute accelerators."""

RUNTIMES: Final = (
    "onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-windowsml",
    "onnxruntime-openvino", "onnxruntime-qnn",
)  # fmt: skip
"""Distributions that all install the module `onnxruntime`."""


def nvidia() -> str:
    if sys.platform == "darwin":
        return "macOS has no NVIDIA driver"
    files = (Path("/proc/driver/nvidia/version"), Path("/usr/lib/wsl/lib/libcuda.so.1"), Path("/dev/nvidia0"))
    if shutil.which("nvidia-smi") or any(path.exists() for path in files):
        return ""
    if sys.platform == "win32" and Path(r"C:\Windows\System32\nvcuda.dll").exists():
        return ""
    return "there is no NVIDIA driver (nvidia-smi was not found)"


@dataclass(frozen=True, slots=True)
class Card:
    """An NVIDIA card as its driver names it."""

    name: str
    capability: tuple[int, int]
    """Compute capability, for example (8, 9)."""


@cache
def nvidia_cards() -> tuple[Card, ...]:
    """What `nvidia-smi` lists, in its order; nothing where it is absent, fails or takes too long."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    command = [program, "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=ASKING)
        found = []
        for line in done.stdout.splitlines():
            name, _, capability = line.rpartition(",")
            major, _, minor = capability.strip().partition(".")
            found.append(Card(name.strip(), (int(major), int(minor))))
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()
    return tuple(found)


ASKING: Final = 1.5
"""Seconds for `nvidia-smi`: all devices together are looked for in two; unanswered, no card is known."""


def tensorrt_rtx() -> str:
    """Why TensorRT-RTX does not run on the first card: it serves desktop cards only."""
    if reason := nvidia():
        return reason
    card = beyond_rtx()
    if card is None:
        return ""
    number = ".".join(map(str, card.capability))
    return (
        f"TensorRT-RTX serves desktop cards, and this one ({card.name}, compute capability {number}) is a"
        " server's or an older one; the tensorrt package serves it"
    )


def beyond_rtx() -> Card | None:
    """The first card, where TensorRT-RTX does not serve it: a server's, which TensorRT itself serves."""
    cards = nvidia_cards()
    return cards[0] if cards and cards[0].capability not in RTX_CAPABILITIES else None


RTX_CAPABILITIES: Final = ((7, 5), (8, 6), (8, 9), (12, 0), (12, 1))
"""Of the cards that TensorRT-RTX serves (TensorRT-RTX 1.5 support matrix, "Hardware and Precision")."""


def apple_silicon() -> str:
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return ""
    return "this is no Mac with Apple silicon"


def macos() -> str:
    return "" if sys.platform == "darwin" else "Core ML models run under macOS and iOS only"


def directx() -> str:
    if sys.platform != "win32":
        return "DirectX 12 exists under Windows only"
    return "" if windows_devices(DISPLAYS) else "Windows lists no display adapter"


def windows_ml() -> str:
    if sys.platform != "win32":
        return "Windows ML exists under Windows only"
    build = int(platform.version().split(".")[-1] or 0)
    if build < WINDOWS_ML_BUILD:
        return f"Windows ML needs Windows 11 24H2 (build {WINDOWS_ML_BUILD}), this is build {build}"
    return ""


WINDOWS_ML_BUILD: Final = 26100


def intel_gpu() -> str:
    return _intel("/sys/class/drm", "card*", DISPLAYS, "an Intel GPU")


def intel_npu() -> str:
    return _intel("/sys/class/accel", "accel*", ACCELERATORS, "an Intel NPU")


def _intel(folder: str, pattern: str, kind: str, what: str) -> str:
    if sys.platform == "win32":
        found = any("intel" in name.lower() for name in windows_devices(kind))
    elif sys.platform == "darwin":
        return f"OpenVINO serves {what} under Linux and Windows only"
    else:
        found = any(_vendor(path) == INTEL for path in Path(folder).glob(pattern))
    return "" if found else f"no driver shows {what}"


def _vendor(device: Path) -> str:
    try:
        return (device / "device" / "vendor").read_text(encoding="ascii").strip()
    except OSError:
        return ""


@cache
def windows_devices(kind: str) -> tuple[str, ...]:
    """Names of a class of devices, as Windows calls them; nothing on another system."""
    if sys.platform != "win32":
        return ()
    return tuple(_registry_names(kind))  # pragma: no cover - Windows


def _registry_names(kind: str) -> Iterator[str]:  # pragma: no cover - Windows
    import importlib

    registry: Any = importlib.import_module("winreg")
    place = rf"SYSTEM\CurrentControlSet\Control\Class\{kind}"
    try:
        with registry.OpenKey(registry.HKEY_LOCAL_MACHINE, place) as parent:
            for index in range(registry.QueryInfoKey(parent)[0]):
                name = registry.EnumKey(parent, index)
                if name.isdigit():
                    with registry.OpenKey(parent, name) as child:
                        yield str(registry.QueryValueEx(child, "DriverDesc")[0])
    except OSError:
        return


def torch_on(device: str) -> str:
    """Why the installed torch does not compute on a device."""
    if device == "cuda":
        if reason := nvidia():
            return reason
        kind = torch_built_for()
        if not kind.startswith("cuda"):
            return (
                f"the installed torch is built for {kind or 'nothing'}; install its CUDA build (pytorch.org)"
            )
    return apple_silicon() if device == "mps" else ""


def torch_built_for() -> str:
    """`cuda 12.8`, `hip 6.4`, `mps` or `cpu`: what the installed torch computes on, from its version file."""
    spec = find_spec("torch")
    if spec is None or not spec.origin:
        return ""
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return "cpu"
    for kind in ("cuda", "hip"):
        found = re.search(rf"^{kind}(?:\s*:[^=]*)?\s*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
        if found:
            return f"{kind} {found.group(1)}"
    return "mps" if not apple_silicon() else "cpu"


def installed(*distributions: str) -> list[str]:
    """Those of the distributions that are installed."""
    found = []
    for name in distributions:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        found.append(name)
    return found


def runtimes_in_conflict() -> tuple[str, str]:
    """Two wheels that own the module `onnxruntime`: a sentence's end and what to run; empty where one does.

    Whichever was installed last has overwritten the other's files.
    """
    found = installed(*RUNTIMES)
    if len(found) < 2:
        return "", ""
    wanted = next((name for name in found if name != "onnxruntime"), found[0])
    return (
        f"{' and '.join(found)} are both installed and overwrite each other's module onnxruntime; keep one",
        installing.exchange(found, wanted),
    )
