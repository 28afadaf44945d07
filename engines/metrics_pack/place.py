"""Where the pack's networks are on this machine, and whether they are still what they were.

`CACHE/metrics/NAME.json` records one place: downloaded, or pointed to.  A file
that changed since is not used: a metric must not change its meaning unseen.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from engines.errors import MetricsError
from engines.metrics_pack.contents import ENTRIES, Entry, Name
from engines.paths import cache_folder, read_json, write_json

Origin = Literal["downloaded", "pointed", "torch hub"]
_CHUNK: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class Place:
    """A network on disk.  `path` is what is loaded: the file, or the folder."""

    entry: Entry
    path: Path
    origin: Origin
    size: int
    """Bytes of the weights."""
    sha256: str

    @property
    def is_published(self) -> bool:
        """Whether the weights are those that everybody else's figures were made with."""
        return self.sha256 == self.entry.sha256


def entry(name: str) -> Entry:
    """An entry by its name.

    Raises:
        MetricsError: there is none.
    """
    found = next((one for one in ENTRIES.values() if one.name == name), None)
    if found is None:
        raise MetricsError(f"The metrics pack has no {name!r}; it has {', '.join(ENTRIES)}.")
    return found


def home(name: Name) -> Path:
    """Where a download goes: the folder `CACHE/metrics/NAME`."""
    return cache_folder("metrics") / name


def find(name: Name) -> Place | None:
    """The network's place; `None` where it is not present or has changed."""
    wanted = ENTRIES[name]
    kept = read_json(_record(name))
    if isinstance(kept, dict):
        place = _read(wanted, kept)
        if place is not None:
            return place
    return _of_torch(wanted) if name == "lpips" else None


def missing(name: Name) -> str:
    """Why a network is not used, and what to do, as a sentence."""
    wanted = ENTRIES[name]
    kept = read_json(_record(name))
    get = f"`pareto-studio metrics get {name}` downloads it, `metrics use {name} PATH` points to it"
    if isinstance(kept, dict) and kept.get("path"):
        return f"{wanted.title} in {kept['path']} is gone or has changed; {get}."
    return f"{wanted.title} ({wanted.weights}) is not on this machine; {get}."


def record(wanted: Entry, path: Path, origin: Origin, sha256: str) -> Place:
    """Remember where a network is."""
    weights = _weights(wanted, path)
    status = weights.stat()
    fact = {
        "path": str(path), "origin": origin, "sha256": sha256,
        "size": status.st_size, "changed": status.st_mtime_ns,
    }  # fmt: skip
    write_json(_record(wanted.name), fact)
    return Place(wanted, path, origin, status.st_size, sha256)


def use(name: str, path: Path, check: Callable[[Entry, Path], None]) -> Place:
    """Point to a network on disk; `check` loads it and raises where it is none.

    Raises:
        MetricsError: there is nothing, or nothing of the right kind.
    """
    wanted, where = entry(name), path.expanduser().resolve()
    if wanted.is_folder and where.is_file():
        where = where.parent
    elif not wanted.is_folder and where.is_dir():
        where = where / wanted.weights
    weights = _weights(wanted, where)
    if not weights.is_file():
        what = f"a folder with {wanted.weights}" if wanted.is_folder else f"the file {wanted.weights}"
        raise MetricsError(f"There is no {weights}; give {what} ({wanted.title}).")
    try:
        content = sha256(weights)
    except OSError as error:
        raise MetricsError(f"{weights} cannot be read ({error.strerror}); check its permissions.") from error
    check(wanted, where)
    return record(wanted, where, "pointed", content)


def sha256(path: Path) -> str:
    """The file's SHA-256 in hex."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def _record(name: Name) -> Path:
    return cache_folder("metrics") / f"{name}.json"


def _weights(wanted: Entry, path: Path) -> Path:
    return path / wanted.weights if wanted.is_folder else path


def _read(wanted: Entry, kept: dict[str, object]) -> Place | None:
    path = Path(str(kept.get("path", "")))
    origin = kept.get("origin")
    if origin not in ("downloaded", "pointed", "torch hub"):
        return None
    try:
        status = _weights(wanted, path).stat()
    except OSError:
        return None
    if [status.st_size, status.st_mtime_ns] != [kept.get("size"), kept.get("changed")]:
        return None
    return Place(wanted, path, origin, status.st_size, str(kept.get("sha256", "")))


def _of_torch(wanted: Entry) -> Place | None:
    """Torchvision's own copy, if another program has fetched it: only the published file will do."""
    # torch.hub.get_dir() without importing torch
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    torch_home = os.environ.get("TORCH_HOME") or str(Path(caches) / "torch")
    path = Path(torch_home).expanduser() / "hub" / "checkpoints" / wanted.weights
    if not path.is_file() or path.stat().st_size != wanted.size:
        return None
    content = sha256(path)
    return record(wanted, path, "torch hub", content) if content == wanted.sha256 else None
