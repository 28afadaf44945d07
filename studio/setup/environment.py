"""Where the engines' environment lives, what state it is in, and how it is removed.

`HOME/backend.json` names the chosen folder, and the wheelhouse where one was
used.  In the folder everything is ours:

    FOLDER/environments/ID/    one environment per shipped version; its stamp is written last
    FOLDER/downloads/          uv's cache: what was fetched stays there until everything is in place
    FOLDER/python/             a Python that uv fetched, where the system had none
    FOLDER/setup.log           what was done, newest last
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from studio.errors import SetupError
from studio.record.folders import cache
from studio.record.settings import write_atomically
from studio.setup.bundle import Bundle

LOCATION: Final = "backend.json"
STAMP: Final = "pareto-studio.json"
MARK: Final = "pareto-studio-backend"
"""An empty file that says that a folder is ours to remove."""
OURS: Final = ("environments", "downloads", "python", "setup.log", "lock", MARK)

Condition = Literal["ready", "missing", "unfinished", "outdated", "damaged"]


class Stamp(BaseModel):
    """Written into an environment when its import check has passed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    identity: str
    version: str
    protocol: int
    torch: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """What is there for this program, with one sentence for the user."""

    condition: Condition
    text: str
    folder: Path
    python: Path | None = None


def default_folder(home: Path) -> Path:
    return home / "backend"


def chosen_folder(home: Path) -> Path:
    """The folder chosen before, or the default one."""
    found = _location(home).get("folder")
    return Path(found) if isinstance(found, str) and found else default_folder(home)


def remember(home: Path, folder: Path, wheelhouse: Path | None = None) -> None:
    """Raises `OSError` where the home folder cannot be written."""
    found = {"folder": str(folder)}
    if wheelhouse is not None:
        found["wheelhouse"] = str(wheelhouse.absolute())
    write_atomically(home / LOCATION, json.dumps(found) + "\n")


def chosen_wheelhouse(home: Path) -> Path | None:
    """The wheelhouse that the engines were made from, if it is still in its place."""
    found = _location(home).get("wheelhouse")
    return Path(found) if isinstance(found, str) and Path(found).is_dir() else None


def surroundings(home: Path, bundle: Bundle) -> dict[str, str]:
    """Variables for what runs in the engines' environment: with the program's uv a package proves itself.

    A uv of the user's own comes first, with its cache.  The wheelhouse of the
    first run gives the wheels where there is no network.
    """
    found = {"PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), str(bundle.folder)])}
    if shutil.which("uv") is None:
        found["UV_CACHE_DIR"] = os.environ.get("UV_CACHE_DIR", str(cache() / "wheels"))
    if (wheelhouse := chosen_wheelhouse(home)) is not None:
        # As an address: uv splits what it is given at commas.
        found["UV_FIND_LINKS"] = os.environ.get("UV_FIND_LINKS", wheelhouse.as_uri())
    return found


def _location(home: Path) -> dict[str, Any]:
    try:
        found = json.loads((home / LOCATION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def place(folder: Path, bundle: Bundle) -> Path:
    """The environment of this bundle in a folder."""
    return folder / "environments" / bundle.identity


def python_of(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def stamp_of(environment: Path) -> Stamp | None:
    try:
        return Stamp.model_validate_json((environment / STAMP).read_bytes())
    except (OSError, ValidationError):
        return None


def state(home: Path, bundle: Bundle) -> State:
    """What is there; reads only and starts nothing."""
    folder = chosen_folder(home)
    mine = place(folder, bundle)
    version = bundle.contents.version
    stamp = stamp_of(mine)
    if stamp is not None:
        if not python_of(mine).exists():
            text = "The engines' Python is gone, as happens when the system's is upgraded; repair them."
            return State("damaged", text, folder)
        return State("ready", f"The engines of {version} are ready.", folder, python_of(mine))
    others = [one for one in _environments(folder) if one != mine]
    old = next((found for found in map(stamp_of, others) if found is not None), None)
    if old is not None:
        text = (
            f"The engines here are of version {old.version} (protocol {old.protocol}) and this window "
            f"is {version} (protocol {bundle.contents.protocol}): update them; your runs stay as they are."
        )
        return State("outdated", text, folder)
    if mine.exists() or (folder / "downloads").exists():
        return State("unfinished", "Setting up was interrupted; it goes on where it stopped.", folder)
    return State("missing", "The engines are not set up yet.", folder)


def _environments(folder: Path) -> list[Path]:
    try:
        return sorted(one for one in (folder / "environments").iterdir() if one.is_dir())
    except OSError:
        return []


def remove_others(folder: Path, bundle: Bundle) -> None:
    """Remove the environments of other versions and what was downloaded for them."""
    for one in _environments(folder):
        if one != place(folder, bundle):
            shutil.rmtree(one, ignore_errors=True)


def remove(home: Path, *, everything: bool = False) -> list[Path]:
    """Remove the environment, and with `everything` all but the user's runs and packages; what was removed.

    Only folders that carry our mark are touched, and in them only our own names.
    """
    removed = []
    folder = chosen_folder(home)
    if (folder / MARK).is_file():
        for name in OURS:
            removed += _removed(folder / name)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    removed += _removed(home / LOCATION)
    if everything:
        kept = {"runs"}
        for path in sorted(home.iterdir()) if home.is_dir() else ():
            if path.name in kept or path.name == folder.name:
                continue
            # `memory.sqlite` with its log: what the agent knows of past runs, and they are still there.
            settings = path.suffix in {".json", ".ini", ".lock"} or path.name.startswith("memory.sqlite")
            if path.is_file() and settings:
                removed += _removed(path)
        removed += _removed(home / "logs")
        # A cache that the user put elsewhere may hold more than ours.
        if not os.environ.get("PARETO_STUDIO_CACHE"):
            removed += _removed(cache())
        if home.is_dir() and not any(home.iterdir()):
            home.rmdir()
    return removed


def _removed(path: Path) -> list[Path]:
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    elif path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        return []
    return [path]


def prepare(folder: Path) -> None:
    """Create the folder and mark it as ours.

    Raises:
        SetupError: it cannot be made or written, or a file is in its place.
    """
    if not folder.is_absolute():
        raise SetupError(f"The folder {folder} must be given with its whole path.", again=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).touch()
        probe = folder / f".write-{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise SetupError(
            f"The folder {folder} cannot be written ({error.strerror or error}); choose another folder."
        ) from error


def free(folder: Path) -> int:
    """Bytes free where `folder` is or will be."""
    here = folder
    while not here.exists() and here != here.parent:
        here = here.parent
    return shutil.disk_usage(here).free
