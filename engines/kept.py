"""What the cache holds: how much disk each kind takes, what losing it costs, and how to empty it.

Everything in the cache can be made or fetched again, so emptying loses time,
never work; runs, packages and settings lie elsewhere.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from engines.errors import EngineError
from engines.paths import cache_folder


@dataclass(frozen=True, slots=True)
class Kind:
    """Folders of the cache that are emptied together."""

    name: str
    title: str
    loses: str
    """What emptying it costs, as a sentence."""
    folders: tuple[str, ...]


KINDS: Final = (
    Kind(
        "engines",
        "Built engines",
        "Engines are built again when a candidate needs them: seconds to minutes each.",
        ("engines", "openvino", "onnx", "tensorrt", "inductor", "programs"),
    ),
    Kind(
        "captures",
        "Captured models",
        "Models are captured and calibrated again before their next engine: seconds to minutes.",
        ("captures", "calibration", "flops"),
    ),
    Kind(
        "models",
        "Unpacked checkpoints",
        "Single files, merged LoRAs and models in two halves are put together again when they are opened.",
        ("checkpoints", "completed", "merged", "joined"),
    ),
    Kind(
        "metrics",
        "Metrics pack",
        "Downloaded networks have to be downloaded again; files that were pointed to stay where they are.",
        ("metrics",),
    ),
    Kind(
        "wheels",
        "Wheels for proofs",
        "They are fetched again for the proof of the next package.",
        ("wheels",),
    ),
    Kind(
        "machine",
        "What was measured here",
        "This machine is measured again, and models are hashed again: seconds.",
        ("machine", "hashes"),
    ),
)
OTHER: Final = Kind("other", "Of other versions", "Nothing that this version uses.", ())
"""Whatever no kind names."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What one kind takes."""

    kind: Kind
    bytes: int
    files: int


def holdings() -> tuple[Holding, ...]:
    """Every kind with what it takes on disk.  Raises `EngineError` where the cache cannot be made."""
    return tuple(Holding(kind, *_size(_folders(kind))) for kind in (*KINDS, OTHER))


def free() -> int:
    """Bytes that are free where the cache lies."""
    return shutil.disk_usage(cache_folder()).free


def empty(names: Sequence[str]) -> int:
    """Empty these kinds; the bytes that they took.

    A folder is moved aside whole before its files go, so that whoever looks
    meanwhile finds it complete or not at all.

    Raises:
        EngineError: no such kind, or something cannot be removed.
    """
    kinds = {kind.name: kind for kind in (*KINDS, OTHER)}
    if unknown := [name for name in names if name not in kinds]:
        raise EngineError(f"The cache holds no {unknown[0]!r}; there are {', '.join(kinds)}.")
    freed = 0
    for name in names:
        for folder in _folders(kinds[name]):
            taken = _size([folder])[0]
            try:
                aside = Path(mkdtemp(dir=folder.parent, prefix=".old-"))
                folder.rename(aside / folder.name)
                shutil.rmtree(aside)
            except OSError as error:
                raise EngineError(
                    f"{folder} cannot be emptied ({error.strerror}); close what uses it and try again."
                ) from error
            freed += taken
    return freed


def _folders(kind: Kind) -> list[Path]:
    root = cache_folder()
    if kind is not OTHER:
        return [root / name for name in kind.folders if (root / name).is_dir()]
    known = {name for each in KINDS for name in each.folders}
    return [path for path in root.iterdir() if path.is_dir() and path.name not in known]


def _size(folders: Sequence[Path]) -> tuple[int, int]:
    """Bytes and files; a file with several names in the cache counts once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for folder in folders:
        for path in folder.rglob("*"):
            with suppress(OSError):  # somebody may be building or emptying
                facts = path.lstat()
                if path.is_dir() or (facts.st_dev, facts.st_ino) in seen:
                    continue
                seen.add((facts.st_dev, facts.st_ino))
                total += facts.st_size
    return total, len(seen)
