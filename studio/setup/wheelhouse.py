"""A folder of wheels with their hashes: what replaces the network on machines without one.

WHEELHOUSE/SHA256SUMS     one line per wheel, as `sha256sum` writes it
WHEELHOUSE/*.whl
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from studio.errors import SetupError
from studio.setup.lock import Pin

SUMS: Final = "SHA256SUMS"
_LINE: Final = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<name>[^/\\\n]+\.whl)\Z")


def read_sums(folder: Path) -> dict[str, str]:
    """Wheel name to SHA-256.

    Raises:
        SetupError: no such list, or a line in it that is none.
    """
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(
            f"{folder} is no wheelhouse (it has no readable {SUMS}); choose the folder that was collected on "
            "another machine, with `pareto-studio setup --collect FOLDER`.",
            again=False,
        ) from error
    found = {}
    for line in filter(str.strip, lines):
        match = _LINE.match(line)
        if match is None:
            raise SetupError(f"{SUMS} in {folder} has a line that is no hash: {line[:60]!r}.", again=False)
        found[match["name"]] = match["digest"]
    return found


def check(folder: Path, on_file: Callable[[int, int, str], None]) -> dict[str, str]:
    """Compare every wheel with its hash; `on_file(done, total, name)` before each, and may raise.

    Raises:
        SetupError: a wheel is missing or has other bytes.
    """
    sums = read_sums(folder)
    for number, (name, digest) in enumerate(sorted(sums.items())):
        on_file(number, len(sums), name)
        try:
            with (folder / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise SetupError(
                f"{name} is missing in {folder} ({error.strerror or error}); copy the wheelhouse again."
            ) from error
        if found != digest:
            raise SetupError(f"{name} in {folder} does not have its hash; copy the wheelhouse again.")
    return sums


def fits(folder: Path, pins: tuple[Pin, ...]) -> bool:
    """Whether it lists a wheel for every entry of the lock that no marker leaves to other systems."""
    try:
        sums = read_sums(folder)
        torch_pins(pins, sums)
    except SetupError:
        return False
    there = set(sums.values())
    everywhere = (pin for pin in pins if not (pin.torch_family or pin.conditional))
    return all(there.intersection(pin.hashes) for pin in everywhere)


def size(folder: Path) -> int:
    """Bytes of all wheels."""
    return sum(path.stat().st_size for path in folder.glob("*.whl"))


def python_of(sums: dict[str, str]) -> str:
    """The Python that its wheels are built for, as `3.12`; empty where any will do."""
    tags = (re.search(r"-cp3(\d+)-cp3\1t?-", name) for name in sorted(sums))
    return next((f"3.{tag[1]}" for tag in tags if tag), "")


def torch_pins(pins: tuple[Pin, ...], sums: dict[str, str]) -> str:
    """Requirements of the torch family with the hashes of the builds that lie in the wheelhouse.

    A wheelhouse may hold another build (`2.15.0+cpu`) than the lock's; its version must be the pinned one.

    Raises:
        SetupError: torch itself is not there in the pinned version.
    """
    lines = []
    for pin in (one for one in pins if one.torch_family):
        stem = re.sub(r"[-_.]+", "_", pin.name)
        wheel = re.compile(re.escape(stem) + r"-(?P<version>[^-]+)-.+\.whl\Z", re.IGNORECASE)
        builds: dict[str, list[str]] = {}
        for name, digest in sorted(sums.items()):
            match = wheel.match(name)
            if match and match["version"].partition("+")[0] == pin.version:
                builds.setdefault(match["version"], []).append(digest)
        if len(builds) > 1:
            raise SetupError(
                f"The wheelhouse has {len(builds)} builds of {pin.name} {pin.version} "
                f"({', '.join(builds)}); keep the one for this machine.",
                again=False,
            )
        for version, digests in builds.items():
            hashes = "".join(f" \\\n    --hash=sha256:{digest}" for digest in digests)
            lines.append(f"{pin.name}=={version}{hashes}\n")
        if not builds and pin.name in {"torch", "torchvision"}:
            raise SetupError(
                f"The wheelhouse has no {pin.name} {pin.version}; collect one with this version of Pareto "
                "Studio: `pareto-studio setup --collect FOLDER`.",
                again=False,
            )
    return "".join(lines)
