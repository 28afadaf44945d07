"""The wheels that a package needs: as they are installed here, else as the project's lock has them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata
from typing import TYPE_CHECKING, Final

from engines import drivers
from engines.errors import EngineError, PackageError
from engines.package.manifest import Manifest, Wheel
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
    "onnxruntime-windowsml": ("onnxruntime-windowsml", "windowsml", *_ALL),
    "mlx": ("mlx", *_ALL),
    "coreml": ("coremltools", *_ALL),
    "tensorrt": ("tensorrt-rtx", *_ALL),
    "torch": ("torch", "safetensors", *_ALL),
}
"""What a package imports, by runtime."""
TORCHAO: Final = "torchao"
"""A wheel that torch's variants with quantised weights need beside; their `build_options` say its version."""
_OF_TORCH: Final = ("nvidia-", "cuda-", "triton")
"""Wheels of torch's builds for cards.  They are left to torch, which names them to the version where its
wheel has a card's code: who takes torch from an index of CPU wheels is spared gigabytes."""
_HOMES: Final = {
    "onnxruntime-directml": "win32",
    "onnxruntime-windowsml": "win32",
    "mlx": "darwin",
    "coreml": "darwin",
}
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
        with suppress(PackageError):
            return tuple(
                Wheel(name=key, version=wheel.version, licence=_licence(wheel))
                for key, wheel in installed(DIRECT[name]).items()
                if name != "torch" or not key.startswith(_OF_TORCH)
            )
    return _locked(name)


def own(manifest: Manifest) -> tuple[Wheel, ...]:
    """Of the runtime that a package was made for, with what its variants need beside."""
    facts = manifest.additional_metadata
    name = runtime(facts.built_for.engine, facts.built_for.device)
    return _with_torchao(facts.wheels, manifest) if name == "torch" else facts.wheels


def further(manifest: Manifest) -> dict[str, tuple[Wheel, ...]]:
    """Of runtimes beside the package's own."""
    facts = manifest.additional_metadata
    found = dict(facts.more_wheels)
    first = runtime(facts.built_for.engine, facts.built_for.device)
    variants = {
        (one.executor_info.studio.engine, one.executor_info.studio.device)
        for body in manifest.components.values()
        for one in body.variants.values()
    }
    for engine, device in sorted(variants):
        name = runtime(engine, device)
        if name != first and name not in found:
            with suppress(PackageError):
                found[name] = needed(engine, device)
    if "torch" in found:
        found["torch"] = _with_torchao(found["torch"], manifest)
    return found


def _with_torchao(wheels: tuple[Wheel, ...], manifest: Manifest) -> tuple[Wheel, ...]:
    """Torch's wheels, and torchao in the version that quantised weights of a variant."""
    options = [
        one.additional_metadata.build_options
        for body in manifest.components.values()
        for one in body.variants.values()
    ]
    version = next((one[TORCHAO] for one in options if TORCHAO in one), "")
    if not version or any(wheel.name == TORCHAO for wheel in wheels):
        return wheels
    return (Wheel(name=TORCHAO, version=version, licence=_licence_here(TORCHAO, version)), *wheels)


def installed(direct: Iterable[str]) -> dict[str, metadata.Distribution]:
    """Wheels and all that those need, as they are here, by their canonical names, the direct ones first.

    Raises:
        PackageError: one of them is not here.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, metadata.Distribution] = {}
    pending = [Requirement(_installed_as(text)) for text in direct]
    done: set[str] = set()
    for wanted in pending:
        if str(wanted) in done:
            continue
        done.add(str(wanted))
        try:
            wheel = metadata.distribution(wanted.name)
        except metadata.PackageNotFoundError:
            raise PackageError(f"{wanted.name} is not installed; install it, then export again.") from None
        found.setdefault(canonicalize_name(wanted.name), wheel)
        pending += [one for one in map(Requirement, wheel.requires or ()) if _applies(one, wanted.extras)]
    return found


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
    direct = len(DIRECT[name]) + any(wheel.name == TORCHAO for wheel in wheels)
    pins = [
        f"{wheel.name}=={wheel.version}" + (f" ; {wheel.marker}" if wheel.marker else "") for wheel in wheels
    ]
    note = ["# torch brings a card's wheels where it has any; an index of CPU wheels spares them."]
    return "\n".join([
        "# What this package imports.", *pins[:direct], "# What those need.", *pins[direct:],
        *(note if name == "torch" else []), "",
    ])  # fmt: skip
