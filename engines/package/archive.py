"""The files of a package's archive, a zip, read so that every other program reads the same ones.

A zip says everything twice: in the header before each file and in the
directory at the end.  Programs differ in which they believe, and most skip
what lies between.  So the two must agree here, and nothing may lie between.
"""

from __future__ import annotations

import stat
import struct
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, Final

from engines.errors import PackageError
from engines.package.sums import AGAIN, SUMS, safe

SUFFIX: Final = ".pareto"
"""Of an archive: systems open what ends so with the Studio, and unpackers read it as the zip that it is."""
MOST_FILES: Final = 100_000
BOMB_BYTES: Final = 1 << 30
BOMB_RATIO: Final = 100
"""A zip that says it unpacks to more than `BOMB_BYTES` and to this many times its own size was made to fill a
disk: weights shrink by a tenth, programs to a quarter."""

_LOCAL: Final = struct.Struct("<4s5H3L2H")
"""A file's own header: mark, version, flags, method, time, date, CRC, packed size, size, lengths of name and
extra (APPNOTE 4.3.7)."""
_END: Final = 22
"""Bytes of the record that ends a zip without a comment."""
_END64: Final = 56 + 20
"""Bytes that come before it where the zip is large."""
_EXTRAS: Final = frozenset({0x0001, 0x000A, 0x5455, 0x7875})
"""What may stand beside a name: large sizes, times, user ids.  Others rename a file or make it a link."""
_ENCRYPTED, _LEVEL, _UTF8 = 0x1, 0x6, 0x800
"""Flags of a file.  All but the last two are refused: one, of files written in one go, says that a file's
size comes after it, where programs look for it in different ways."""


def beside(folder: Path) -> tuple[Path, ...]:
    """The archives that lie beside a package's folder: NAME.pareto, and NAME.zip where it was renamed."""
    places = (folder.with_name(f"{folder.name}{suffix}") for suffix in (SUFFIX, ".zip"))
    return tuple(place for place in places if place.is_file())


def members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Files by path below the package's folder.

    Raises:
        PackageError: unsafe, repeated, encrypted, linked or hidden entries, a bomb, or not one package.
        zipfile.BadZipFile: a file's own header cannot be read.
    """
    entries = archive.infolist()
    if len(entries) > MOST_FILES:
        raise PackageError(
            f"The zip says that it holds {len(entries)} files, more than a package has; {AGAIN}."
        )
    found: dict[str, zipfile.ZipInfo] = {}
    folders: set[str] = set()
    for info in entries:
        # zipfile itself rewrites `\\` and cuts names at NUL; the name as stored is what counts.
        name = safe(info.orig_filename.removesuffix("/"))
        _ordinary(name, info)
        if info.is_dir():
            folders.add(name)
        elif name in found:
            raise PackageError(f"{name} is in the zip twice; {AGAIN}.")
        else:
            found[name] = info
    _agreeing(archive, entries)
    parents = {parent.as_posix() for name in found for parent in PurePosixPath(name).parents}
    if empty := sorted(folders - parents):
        raise PackageError(f"{empty[0]} in the zip is an empty folder, which no package has; {AGAIN}.")
    return _below_the_top(found)


def _below_the_top(found: dict[str, zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    if SUMS in found:
        return found
    tops = {PurePosixPath(name).parts[0] for name in found}
    if len(tops) != 1:
        raise PackageError(f"The zip holds no {SUMS}; give the archive of a package.")
    top = f"{tops.pop()}/"
    return {name.removeprefix(top): info for name, info in found.items()}


def _ordinary(name: str, info: zipfile.ZipInfo) -> None:
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR) or (info.is_dir() and info.file_size):
        raise PackageError(f"{name} in the zip is a link or no ordinary file; {AGAIN}.")
    if info.flag_bits & _ENCRYPTED:
        raise PackageError(f"{name} in the zip is encrypted; give a package without a password.")
    packed = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if not packed or info.flag_bits & ~(_LEVEL | _UTF8):
        raise PackageError(f"{name} in the zip is packed in a way that not every system can unpack; {AGAIN}.")
    if not _known(info.extra):
        raise PackageError(f"{name} in the zip has a second name or is more than a file; {AGAIN}.")


def _known(extra: bytes) -> bool:
    """Whether a list of (kind, length, content) holds nothing but what may be there."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind not in _EXTRAS:
            return False
        at += 4 + length
    return at == len(extra)


def _agreeing(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> None:
    """Raises `PackageError` where own headers and directory differ, or bytes belong to no file."""
    file = archive.fp
    assert file is not None
    at = 0
    for info in sorted(entries, key=lambda one: one.header_offset):
        if info.header_offset != at:
            raise _hidden()
        at = _end_of(file, info)
    if archive.start_dir != at:
        raise _hidden()
    directory = sum(_directory_bytes(info) for info in entries)
    file.seek(0, 2)
    if file.tell() - archive.start_dir - directory not in (_END, _END + _END64):
        raise _hidden()
    if (size := sum(info.file_size for info in entries)) > max(BOMB_BYTES, BOMB_RATIO * file.tell()):
        raise PackageError(
            f"The zip has {file.tell() >> 20} MiB and says it unpacks to {size >> 20} MiB; do not unpack it."
        )


def _directory_bytes(info: zipfile.ZipInfo) -> int:
    return 46 + len(_stored(info)) + len(info.extra) + len(info.comment)


def _end_of(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Where the packed bytes end, by a file's own header, which must say what the directory says."""
    file.seek(info.header_offset)
    head = file.read(_LOCAL.size)
    if len(head) < _LOCAL.size:
        raise zipfile.BadZipFile("it is cut off")
    mark, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = _LOCAL.unpack(head)
    name, extra = file.read(name_bytes), file.read(extra_bytes)
    said = [(info.CRC, info.compress_size, info.file_size), (info.CRC, 0xFFFFFFFF, 0xFFFFFFFF)]
    if (
        mark != b"PK\3\4"
        or name != _stored(info)
        or (flags, method) != (info.flag_bits, info.compress_type)
        or (crc, packed, size) not in said
        or not _known(extra)
        or (packed == 0xFFFFFFFF and not _large(extra, info))
    ):
        raise PackageError(f"The zip gives {info.filename} twice and differently; {AGAIN}.")
    end: int = info.header_offset + _LOCAL.size + name_bytes + extra_bytes + info.compress_size
    return end


def _stored(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")


def _large(extra: bytes, info: zipfile.ZipInfo) -> bool:
    """Whether the sizes that did not fit into a header are those of the directory."""
    return extra[:4] == b"\x01\x00\x10\x00" and struct.unpack_from("<2Q", extra, 4) == (
        info.file_size,
        info.compress_size,
    )


def _hidden() -> PackageError:
    return PackageError(f"There are bytes in the zip that belong to none of its files; {AGAIN}.")
