"""Whether machine code was compiled for a machine like this one; travels inside a package.

AOTInductor compiles for the very processor that it runs on, and its code calls
the torch that made it: on another one it would end the process, not fail.
"""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Final

from engines.errors import PackageError

_INSTRUCTIONS: Final = (
    "avx", "amx", "fma", "f16c", "bmi", "sse", "ssse3", "popcnt", "movbe", "abm", "adx", "aes", "vaes", "sha",
    "pclmul", "vpclmul", "gfni", "rdrand", "rdseed", "asimd", "sve", "sme", "atomics", "bf16", "i8mm", "fphp",
)  # fmt: skip
"""Beginnings of the names of instruction sets that a compiler uses where it finds them."""


def compatibility() -> str:
    """What code that torch compiles here needs: `torch=2.15.0 system=Linux machine=x86_64 needs=avx,avx2`."""
    needs = ",".join(_instructions())
    return f"torch={_torch()} system={platform.system()} machine={platform.machine()} needs={needs}"


def check(wanted: str) -> None:
    """Compare with a `compatibility_string`.

    Raises:
        PackageError: it is of another torch, system or kind of processor, or needs what this one lacks.
    """
    said = dict(part.split("=", 1) for part in wanted.split(" ") if "=" in part)
    if {"torch", "system", "machine", "needs"} - set(said):
        raise PackageError("It is machine code, and its manifest does not say for what; export it again.")
    try:
        here = {"torch": _torch(), "system": platform.system(), "machine": platform.machine()}
    except metadata.PackageNotFoundError:
        raise PackageError(
            "torch is not installed; install the one that the package's requirements name."
        ) from None
    for name, value in here.items():
        if said[name] != value:
            raise PackageError(
                f"It was compiled for {name} {said[name]}, and here is {value}; export the package here."
            )
    if lacking := sorted(set(filter(None, said["needs"].split(","))) - set(_instructions())):
        raise PackageError(
            f"It was compiled for a processor with {', '.join(lacking)}, which this one lacks; export the "
            "package here."
        )


def _torch() -> str:
    """Without the build: the wheels for a CPU and for cards have the same interface."""
    return metadata.version("torch").partition("+")[0]


def _instructions() -> list[str]:
    """Of this processor; where the system does not list them, its name stands for them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return [platform.processor().replace(" ", "-").replace(",", "")]
    flags = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")
    return sorted({name for name in flags.split() if name.startswith(_INSTRUCTIONS)})
