"""Where a package is written: room and rights are looked at first, and what was there goes last."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from engines.errors import PackageError
from engines.package import sums

_FULL: Final = ("No space left on device", "Disk quota exceeded", "os error 28", "os error 122")
"""In words of libraries that write files by themselves; the numbers are Rust's."""
_STREAM: Final = "iostream error"
"""What a C++ stream says of any write that failed; OpenVINO passes it on."""
_LAST: Final = 2**20
"""Bytes: a disk with less was full a moment ago."""


def copy(source: Path, target: Path) -> None:
    """The bytes of a file, without its permissions, into a folder that may still be missing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def check_place(folder: Path, *, replace: bool) -> None:
    """Whether a package may be written there.

    Raises:
        PackageError: something is there that must not be replaced.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        return
    if not replace:
        raise PackageError(f"{folder} exists already; choose another place or remove it first.")
    if folder.is_symlink() or not (folder / sums.SUMS).is_file():
        raise PackageError(f"{folder} exists and is no package; choose another place.")


def move(partial: Path, folder: Path) -> None:
    """Put a finished folder in its place; what lies there goes last."""
    if not folder.exists():
        partial.rename(folder)
        return
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    folder.rename(aside)
    try:
        partial.rename(folder)
    except OSError:
        aside.rename(folder)
        raise
    shutil.rmtree(aside)


@contextmanager
def staging(folder: Path, size: int) -> Iterator[Path]:
    """A new empty folder beside `folder` with room for `size` bytes; gone afterwards unless renamed."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    with sentences(folder.parent, size):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            if (free := shutil.disk_usage(folder.parent).free) < size:
                raise PackageError(
                    f"{folder.parent} has {free >> 20} MiB free, the package needs {(size >> 20) + 1} MiB; "
                    "free space or choose another place."
                )
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def is_full(error: Exception) -> bool:
    """Whether a disk had no room; libraries that write by themselves, and copies of folders, only say so."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    return any(words in str(error) for words in _FULL)


@contextmanager
def sentences(place: Path, size: int) -> Iterator[None]:
    """Turn what the file system says while writing into one sentence, whichever library passes it on.

    Raises:
        PackageError: instead of `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise PackageError(_sentence(place, size, error)) from error
    except Exception as error:
        if is_full(error) or (_STREAM in str(error) and _left(place) < _LAST):
            raise PackageError(_no_room(place, size)) from error
        raise


def _left(place: Path) -> int:
    """Bytes that are free where a path is, or would be."""
    there = next(one for one in (place, *place.absolute().parents) if one.exists())
    return shutil.disk_usage(there).free


def _sentence(place: Path, size: int, error: OSError) -> str:
    if is_full(error):
        return _no_room(place, size)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{place} cannot be written; choose a folder that you may write to."
    return f"{place} cannot hold the package ({error.strerror or error}); choose another place."


def _no_room(place: Path, size: int) -> str:
    need = f" (the package needs {(size >> 20) + 1} MiB)" if size else ""
    return f"The disk of {place} is full{need}; free space or choose another place."
