"""Archives whose bytes depend on their content alone: sorted, dated by the source, owned by root."""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
import time
import zipfile
from pathlib import Path
from typing import IO


def walk(folder: Path) -> list[Path]:
    """Everything below, folders before what they hold, sorted by name; links are not followed."""
    return sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix())


def set_dates(folder: Path, epoch: int) -> None:
    """Date every file, link and folder by the source, and give rights 644 or 755."""
    for path in [*reversed(walk(folder)), folder]:
        # Windows can date no link, and has none here.
        link = path.is_symlink()
        if not link:
            runs = path.is_dir() or path.stat().st_mode & 0o111
            path.chmod(0o755 if runs else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=not link)


def tar(folder: Path, into: IO[bytes], epoch: int) -> None:
    """A gzipped tar of a folder's content."""
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=into, mtime=0, compresslevel=6) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for path in walk(folder):
            entry = archive.gettarinfo(str(path), path.relative_to(folder).as_posix())
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = "root"
            entry.mtime = epoch
            if entry.isreg():
                with path.open("rb") as file:
                    archive.addfile(entry, file)
            else:
                archive.addfile(entry)


def zip_folder(folder: Path, target: Path, epoch: int) -> None:
    """A zip with rights and links, as macOS unpacks it."""
    date = time.gmtime(max(epoch, 315532800))[:6]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in (folder, *walk(folder)):
            name = path.relative_to(folder.parent).as_posix()
            if path.is_dir() and not path.is_symlink():
                entry = zipfile.ZipInfo(name + "/", date)
                entry.external_attr = (stat.S_IFDIR | 0o755) << 16 | 0x10
                archive.writestr(entry, b"")
                continue
            entry = zipfile.ZipInfo(name, date)
            entry.create_system = 3
            entry.compress_type = zipfile.ZIP_DEFLATED
            if path.is_symlink():
                entry.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(entry, str(path.readlink()))
            else:
                entry.external_attr = (stat.S_IFREG | (path.stat().st_mode & 0o777)) << 16
                archive.writestr(entry, path.read_bytes())


def differences(one: Path, other: Path) -> list[str]:
    """Names below two folders that differ in content, kind or presence."""
    names = {path.relative_to(base).as_posix() for base in (one, other) for path in walk(base)}
    return sorted(name for name in names if _content(one / name) != _content(other / name))


def _content(path: Path) -> bytes | str | None:
    if path.is_symlink():
        return str(path.readlink())
    if path.is_dir():
        return ""
    return path.read_bytes() if path.exists() else None
