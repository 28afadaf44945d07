"""Digests and paths of a package; travels inside it (standard library only).

`SHA256SUMS` has one line `<sha256>  <posix path>` for every file but itself,
sorted by path.  The digest of `SHA256SUMS` is the package's id.
"""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Final

from engines.errors import PackageError

SUMS: Final = "SHA256SUMS"
MANIFEST: Final = "manifest.json"
AGAIN: Final = "get the package again from its maker"

_LINE: Final = re.compile(r"([0-9a-f]{64})  (.+)")
_BLOCK: Final = 1 << 20
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def safe(path: str) -> str:
    """The path itself, if it is relative, portable and stays inside the package.

    Raises:
        PackageError: it is absolute, climbs out, or means different files on different systems.
    """
    parts = path.split("/")
    if (
        not path
        or "\\" in path
        or ":" in path
        or any(ord(letter) < 32 for letter in path)
        or any(part in ("", ".", "..") or part != part.rstrip(". ") for part in parts)
        or any(_RESERVED.fullmatch(part) for part in parts)
    ):
        raise PackageError(f"The package names the file {path!r}, which may lie outside it; do not use it.")
    return path


def digest(file: IO[bytes]) -> str:
    """SHA-256 of what is left in an open file, read in blocks."""
    found = hashlib.sha256()
    while block := file.read(_BLOCK):
        found.update(block)
    return found.hexdigest()


def digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return digest(file)


def lines(digests: Mapping[str, str]) -> str:
    """The text of `SHA256SUMS` for path -> digest."""
    return "".join(f"{digests[path]}  {path}\n" for path in sorted(digests))


def parse(text: str) -> dict[str, str]:
    """Path -> digest.

    Raises:
        PackageError: a line that is none, an unsafe path, or a path that is there twice.
    """
    found: dict[str, str] = {}
    folded: set[str] = set()
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise PackageError(f"{SUMS} holds a line that is no digest ({line[:60]!r}); {AGAIN}.")
        path = safe(match[2])
        if path.casefold() in folded:
            raise PackageError(f"{SUMS} names {path} twice; {AGAIN}.")
        folded.add(path.casefold())
        found[path] = match[1]
    if not found:
        raise PackageError(f"{SUMS} is empty; {AGAIN}.")
    return found


def identity(text: str) -> str:
    """The package's id, from the text of its `SHA256SUMS`."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def walk(folder: Path) -> Iterator[str]:
    """Every file below a folder as a posix path, sorted; links are never followed.

    Raises:
        PackageError: a symbolic link, a device, a pipe or a path that is not portable.
    """
    found = []
    pending = [folder]
    while pending:
        for entry in sorted(pending.pop().iterdir()):
            kind = entry.lstat().st_mode
            name = entry.relative_to(folder).as_posix()
            if stat.S_ISDIR(kind):
                pending.append(entry)
            elif stat.S_ISREG(kind):
                found.append(safe(name))
            else:
                raise PackageError(f"{name} in the package is a link or no ordinary file; {AGAIN}.")
    yield from sorted(found)


def compare(listed: Mapping[str, str], present: Iterable[str]) -> None:
    """Check that the listed and the present files are the same ones (`SHA256SUMS` itself aside).

    Raises:
        PackageError: a file that is missing or not listed.
    """
    there = set(present) - {SUMS}
    if missing := sorted(set(listed) - there):
        raise PackageError(f"{missing[0]} is missing from the package{_more(missing)}; {AGAIN}.")
    if extra := sorted(there - set(listed)):
        raise PackageError(
            f"{extra[0]} is in the package but not in {SUMS}{_more(extra)}; remove it or {AGAIN}."
        )


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def changed(path: str) -> PackageError:
    """The error for a file that does not have its listed digest."""
    return PackageError(f"{path} was changed after the package was made; {AGAIN}.")


def check_folder(folder: Path) -> str:
    """Check every byte of a package folder and return its id.

    Raises:
        PackageError: no package, or one that is not as it was made.
    """
    try:
        text = (folder / SUMS).read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        raise PackageError(f"{folder} holds no readable {SUMS}; give the folder of a package.") from None
    listed = parse(text)
    compare(listed, walk(folder))
    for path, expected in listed.items():
        if digest_file(folder / path) != expected:
            raise changed(path)
    return identity(text)


def write(folder: Path) -> str:
    """Write `SHA256SUMS` for what lies in the folder and return the package's id."""
    text = lines({path: digest_file(folder / path) for path in walk(folder) if path != SUMS})
    (folder / SUMS).write_bytes(text.encode())
    return identity(text)


def directory_hash(digests: Mapping[str, str]) -> str:
    """Content address of a folder from relative path -> digest.

    As ONNX Runtime's model package computes it: the SHA-256 of the sorted
    lines `<sha256>  <posix path>`.
    """
    return hashlib.sha256(lines(digests).encode()).hexdigest()
