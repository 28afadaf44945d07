"""The wheelhouse that a user has at hand: that of the last time, or one where people put such a folder."""

from __future__ import annotations

import os
import string
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import platformdirs

from studio.setup import environment, wheelhouse
from studio.setup import lock as locks
from studio.setup.bundle import Bundle

DEPTH: Final = 2
"""How far below a place a wheelhouse is looked for."""
PATIENCE: Final = 5.0
"""Seconds of looking; a stick or a share may be slow."""
MOST: Final = 5000
"""Folders that are looked at."""


@dataclass(frozen=True, slots=True)
class Found:
    """A wheelhouse, and whether it has what this program's lock asks for."""

    folder: Path
    fits: bool


def find(home: Path, bundle: Bundle) -> Found | None:
    """The wheelhouse of the last time if it fits, else one that fits, else that of the last time as it is."""
    before = last(home, bundle)
    if before is not None and before.fits:
        return before
    pins = _pins(bundle)
    return next((Found(place, fits=True) for place in places() if wheelhouse.fits(place, pins)), before)


def last(home: Path, bundle: Bundle) -> Found | None:
    """The wheelhouse that the engines were made from, if it is still in its place."""
    folder = environment.chosen_wheelhouse(home)
    return None if folder is None else Found(folder, fits=wheelhouse.fits(folder, _pins(bundle)))


def places() -> Iterator[Path]:
    """Folders with a list of hashes on the desktop, among the downloads, and on sticks and other disks."""
    until = time.monotonic() + PATIENCE
    pending = [(root, 0) for root in _roots()]
    for looked, (folder, depth) in enumerate(pending):
        if looked >= MOST or time.monotonic() > until:
            return
        try:
            if (folder / wheelhouse.SUMS).is_file():
                yield folder
            elif depth < DEPTH:
                below = (one for one in folder.iterdir() if not one.name.startswith(".") and one.is_dir())
                pending += [(one, depth + 1) for one in sorted(below)]
        except OSError:
            continue  # a stick that was pulled out, a folder of somebody else


def _pins(bundle: Bundle) -> tuple[locks.Pin, ...]:
    return locks.pins(bundle.lock.read_text(encoding="utf-8"))


def _roots() -> list[Path]:
    mine = [Path(platformdirs.user_desktop_dir()), Path(platformdirs.user_downloads_dir())]
    if sys.platform == "win32":
        # C: has the system, and the user's own folders above.
        return mine + [Path(f"{letter}:\\") for letter in string.ascii_uppercase[3:]]
    if sys.platform == "darwin":
        return [*mine, Path("/Volumes")]
    user = os.environ.get("USER") or Path.home().name
    return [*mine, Path("/run/media") / user, Path("/media") / user, Path("/media"), Path("/mnt")]
