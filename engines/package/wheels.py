"""The wheels that a package needs, as they are installed here."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata
from typing import Final

from engines import drivers
from engines.errors import PackageError
from engines.package.manifest import Wheel
from engines.package.torch_files import ENGINES

_TORCH: Final = ("torch", "safetensors", "numpy", "tokenizers", "pillow", "h11")
DIRECT: Final = {
    "openvino": ("openvino", "numpy", "tokenizers", "pillow", "h11"),
    "onnxruntime": ("onnxruntime", "numpy", "tokenizers", "pillow", "h11"),
    "mlx": ("mlx", "numpy", "tokenizers", "pillow", "h11"),
    "coreml": ("coremltools", "numpy", "tokenizers", "pillow", "h11"),
    **dict.fromkeys(ENGINES, _TORCH),
}
"""What a package imports, by engine."""
_OF_TORCH: Final = ("nvidia-", "cuda-", "triton")
"""Wheels of torch's builds for cards.  They are left to torch, which names them to the version where its
wheel has a card's code: who takes torch from an index of CPU wheels is spared gigabytes."""


def needed(engine: str) -> tuple[Wheel, ...]:
    """The direct wheels of an engine's packages and all that those need, pinned, direct ones first.

    Raises:
        PackageError: one of them is not installed here, or the engine has no packages.
    """
    if engine not in DIRECT:
        raise PackageError(f"{engine} has no packages; export the recipe for openvino or onnxruntime.")
    return tuple(
        Wheel(name=name, version=wheel.version, licence=_licence(wheel))
        for name, wheel in installed(DIRECT[engine]).items()
        if engine not in ENGINES or not name.startswith(_OF_TORCH)
    )


def installed(names: Iterable[str]) -> dict[str, metadata.Distribution]:
    """Wheels and all that those need, as they are installed here, by their canonical names, the named first.

    Raises:
        PackageError: one of them is not.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, metadata.Distribution] = {}
    pending = [(_installed_as(name), frozenset[str]()) for name in names]
    seen: set[tuple[str, frozenset[str]]] = set()
    for name, extras in pending:
        key = canonicalize_name(name)
        if (key, extras) in seen or (key in found and not extras):
            continue
        seen.add((key, extras))
        try:
            wheel = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise PackageError(f"{name} is not installed; install it, then export again.") from None
        found[key] = wheel
        for text in wheel.requires or ():
            needs = Requirement(text)
            if needs.marker is None or any(needs.marker.evaluate({"extra": one}) for one in ("", *extras)):
                pending.append((needs.name, frozenset(needs.extras)))
    return found


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
    note = ["# torch brings a card's wheels where it has any; an index of CPU wheels spares them."]
    return "\n".join([
        "# What this package imports.", *pins[:direct], "# What those need.", *pins[direct:],
        *(note if engine in ENGINES else []), "",
    ])  # fmt: skip
