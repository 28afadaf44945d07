"""Where things are kept: the cache, the bundled model; and how files get there unharmed.

Everything is written under a temporary name in the same folder, then renamed;
a file lock keeps two processes from building the same thing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

from engines.errors import EngineError, ModelError

BUNDLED: Final = "tiny-scenes"


def cache_folder(name: str = "") -> Path:
    """The folder `name` in `$PARETO_STUDIO_CACHE` or the user cache folder, made if absent.

    Raises:
        EngineError: it cannot be made.
    """
    given = os.environ.get("PARETO_STUDIO_CACHE")
    if given:
        root = Path(given)
    else:
        import platformdirs

        root = Path(platformdirs.user_cache_dir("pareto-studio", appauthor=False))
    folder = root / name if name else root
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(
            f"The cache folder {folder} cannot be made ({error.strerror}); set PARETO_STUDIO_CACHE"
            " to a folder you can write to."
        ) from error
    return folder


def bundled_model() -> Path:
    """The folder of Tiny Scenes.

    Raises:
        ModelError: it is not there.
    """
    try:
        return asset(BUNDLED)
    except EngineError:
        raise ModelError(
            "The bundled model tiny-scenes is not part of this installation; install Pareto Studio again."
        ) from None


def asset(name: str) -> Path:
    """A folder of `assets` of a checkout, of `engines/_assets` of a wheel.

    Raises:
        EngineError: neither is there.
    """
    engines = Path(__file__).resolve().parent
    for folder in (engines.parent / "assets" / name, engines / "_assets" / name):
        if folder.is_dir():
            return folder
    raise EngineError(f"The files of {name} are not part of this installation; install Pareto Studio again.")


def digest(*parts: object) -> str:
    """32 hex digits that stand for JSON-like values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path`.lock against other processes; waits for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("a+b") as file:
        _lock(file)
        try:
            yield
        finally:
            _unlock(file)


def _lock(file: IO[bytes]) -> None:
    if os.name == "nt":  # pragma: no cover - Windows
        import msvcrt
        import time

        while True:
            with suppress(OSError):
                file.seek(0)
                getattr(msvcrt, "locking")(file.fileno(), getattr(msvcrt, "LK_NBLCK"), 1)  # noqa: B009
                return
            time.sleep(0.05)
    import fcntl

    fcntl.flock(file.fileno(), fcntl.LOCK_EX)


def _unlock(file: IO[bytes]) -> None:
    if os.name == "nt":  # pragma: no cover - Windows
        import msvcrt

        file.seek(0)
        getattr(msvcrt, "locking")(file.fileno(), getattr(msvcrt, "LK_UNLCK"), 1)  # noqa: B009
        return
    import fcntl

    fcntl.flock(file.fileno(), fcntl.LOCK_UN)


def write_json(path: Path, value: Any) -> None:
    """Write JSON through a temporary name."""
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=".new-", delete=False, encoding="utf-8"
    ) as file:
        json.dump(value, file, indent=1, sort_keys=True)
    Path(file.name).replace(path)


def read_json(path: Path) -> Any:
    """The value, or `None` where the file is absent or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


@contextmanager
def new_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Fill the yielded folder; it becomes `path` when the block ends well and vanishes otherwise.

    What is there already stays, for its name says what is in it and somebody may be reading it; to
    `replace` it, it is put aside whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=".new-"))
    aside = folder.with_name(folder.name.replace(".new-", ".old-"))
    try:
        yield folder
        if replace:
            with suppress(FileNotFoundError):
                path.rename(aside)
        try:
            folder.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the file system has none; cached files are never changed in place.

    A symbolic link, as the hub keeps its files, is followed: in another folder it would lead nowhere.
    """
    source = source.resolve()
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
