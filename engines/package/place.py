"""Where a package is written: room and rights are looked at first, and what was there goes last."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines.errors import PackageError
from engines.package import sums


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


@contextmanager
def sentences(place: Path, size: int) -> Iterator[None]:
    """Turn what the file system says while writing into one sentence.

    Raises:
        PackageError: instead of `OSError`.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            need = f" (the package needs {(size >> 20) + 1} MiB)" if size else ""
            sentence = f"The disk of {place} is full{need}; free space or choose another place."
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            sentence = f"{place} cannot be written; choose a folder that you may write to."
        else:
            sentence = f"{place} cannot hold the package ({error.strerror or error}); choose another place."
        raise PackageError(sentence) from error
