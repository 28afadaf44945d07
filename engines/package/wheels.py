"""The wheels that a package needs: as they are installed here, else as the project's lock has them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Final

from engines import drivers
from engines.errors import EngineError, PackageError
from engines.package.manifest import Wheel
from engines.package.runtimes import runtime
from engines.paths import asset

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_ALL: Final = ("numpy", "tokenizers", "pillow", "h11")
DIRECT: Final = {
    "openvino": ("openvino", *_ALL),
    "onnxruntime": ("onnxruntime", *_ALL),
    "onnxruntime-cuda": ("onnxruntime-gpu[cuda,cudnn]", *_ALL),
    "onnxruntime-directml": ("onnxruntime-directml", *_ALL),
    "mlx": ("mlx", *_ALL),
    "coreml": ("coremltools", *_ALL),
    "tensorrt": ("tensorrt-rtx", *_ALL),
}
"""What a package imports, by runtime."""
_HOMES: Final = {"onnxruntime-directml": "win32", "mlx": "darwin", "coreml": "darwin"}
"""Runtimes that compute on one system only: what is installed on another one is not what is needed there."""


def needed(engine: str, device: str = "cpu") -> tuple[Wheel, ...]:
    """The direct wheels of an engine's variants for a device and all that those need, direct ones first.

    Raises:
        PackageError: the engine has no packages, or one of its wheels is neither here nor in a lock.
    """
    name = runtime(engine, device)
    if name not in DIRECT:
        raise PackageError(f"{engine} has no packages; export the recipe for openvino or onnxruntime.")
    if _HOMES.get(name, sys.platform) == sys.platform:
        found = _installed(DIRECT[name])
        if found:
            return found
    return _locked(name)


def _installed(direct: Sequence[str]) -> tuple[Wheel, ...]:
    """As they are here; nothing where one of them is not."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, Wheel] = {}
    pending = [Requirement(_installed_as(text)) for text in direct]
    done: set[str] = set()
    for wanted in pending:
        if str(wanted) in done:
            continue
        done.add(str(wanted))
        key = canonicalize_name(wanted.name)
        try:
            wheel = metadata.distribution(wanted.name)
        except metadata.PackageNotFoundError:
            return ()
        found.setdefault(key, Wheel(name=key, version=wheel.version, licence=_licence(wheel)))
        pending += [one for one in map(Requirement, wheel.requires or ()) if _applies(one, wanted.extras)]
    return tuple(found.values())


def _applies(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _installed_as(text: str) -> str:
    """ONNX Runtime for the CPU is in each of the several wheels of one module."""
    if text != "onnxruntime":
        return text
    found = drivers.installed(*drivers.RUNTIMES)
    return found[-1] if found else text


def _locked(name: str) -> tuple[Wheel, ...]:
    """Of a runtime, by `assets/wheels`, which `packaging/package-locks` makes for every system."""
    from packaging.requirements import Requirement

    try:
        lines = (asset("wheels") / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, EngineError):
        raise PackageError(
            f"The wheels of {name} are neither installed nor part of this installation; "
            "install Pareto Studio again."
        ) from None
    wanted = [Requirement(text).name for text in DIRECT[name]]
    found = []
    for line in lines:
        pin, _, marker = line.partition(";")
        key, _, version = pin.strip().partition("==")
        licence = _licence_here(key, version)
        found.append(Wheel(name=key, version=version, licence=licence, marker=marker.strip()))
    first = [wheel for one in wanted for wheel in found if wheel.name == one]
    return (*first, *(wheel for wheel in found if wheel.name not in wanted))


def _licence_here(name: str, version: str) -> str:
    """Of the same wheel where it is installed; empty where it is not known."""
    try:
        wheel = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return ""
    return _licence(wheel) if wheel.version == version else ""


def _licence(wheel: metadata.Distribution) -> str:
    said = wheel.metadata.json
    if expression := said.get("license_expression"):
        return str(expression)
    classified = [
        text.rpartition(" :: ")[2] for text in said.get("classifier", ()) if text.startswith("License :: ")
    ]
    text = str(said.get("license") or "")
    return ", ".join(classified) or (text if len(text) < 80 and "\n" not in text else "")


def requirements(name: str, wheels: tuple[Wheel, ...]) -> str:
    """The text of a runtime's requirements file; names no index, so the user's own is asked."""
    direct = len(DIRECT[name])
    pins = [
        f"{wheel.name}=={wheel.version}" + (f" ; {wheel.marker}" if wheel.marker else "") for wheel in wheels
    ]
    return "\n".join(
        ["# What this package imports.", *pins[:direct], "# What those need.", *pins[direct:], ""]
    )
