"""The wheels that a package needs, as they are installed here."""

from __future__ import annotations

from importlib import metadata
from typing import Final

from engines import drivers
from engines.errors import PackageError
from engines.package.manifest import Wheel

DIRECT: Final = {
    "openvino": ("openvino", "numpy", "tokenizers", "pillow", "h11"),
    "onnxruntime": ("onnxruntime", "numpy", "tokenizers", "pillow", "h11"),
    "mlx": ("mlx", "numpy", "tokenizers", "pillow", "h11"),
    "coreml": ("coremltools", "numpy", "tokenizers", "pillow", "h11"),
}
"""What a package imports, by engine."""


def needed(engine: str) -> tuple[Wheel, ...]:
    """The direct wheels of an engine's packages and all that those need, pinned, direct ones first.

    Raises:
        PackageError: one of them is not installed here, or the engine has no packages.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    if engine not in DIRECT:
        raise PackageError(f"{engine} has no packages; export the recipe for openvino or onnxruntime.")
    found: dict[str, Wheel] = {}
    pending = [_installed_as(name) for name in DIRECT[engine]]
    for name in pending:
        key = canonicalize_name(name)
        if key in found:
            continue
        try:
            wheel = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise PackageError(f"{name} is not installed; install it, then export again.") from None
        found[key] = Wheel(name=key, version=wheel.version, licence=_licence(wheel))
        for text in wheel.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                pending.append(requirement.name)
    return tuple(found.values())


def _installed_as(name: str) -> str:
    """ONNX Runtime comes in several wheels of one module, each with its provider."""
    if name != "onnxruntime":
        return name
    found = drivers.installed(*drivers.RUNTIMES)
    return found[-1] if found else name


def _licence(wheel: metadata.Distribution) -> str:
    said = wheel.metadata.json
    if expression := said.get("license_expression"):
        return str(expression)
    classified = [
        text.rpartition(" :: ")[2] for text in said.get("classifier", ()) if text.startswith("License :: ")
    ]
    text = str(said.get("license") or "")
    return ", ".join(classified) or (text if len(text) < 80 and "\n" not in text else "")


def requirements_file(engine: str) -> str:
    """Of variants for another engine than the package's own."""
    return f"requirements-{engine}.txt"


def requirements(engine: str, wheels: tuple[Wheel, ...]) -> str:
    """The text of `requirements.txt`; names no index, so the user's own is asked."""
    direct = len(DIRECT[engine])
    pins = [f"{wheel.name}=={wheel.version}" for wheel in wheels]
    return "\n".join(
        ["# What this package imports.", *pins[:direct], "# What those need.", *pins[direct:], ""]
    )
