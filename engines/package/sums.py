"""Digests and paths of a package; travels inside it (standard library only).

`SHA256SUMS` has one line `<sha256>  <posix path>` for every file but itself and
the signature, sorted by path.  The digest of `SHA256SUMS` is the package's id:
signing a package leaves its id alone.
"""

from __future__ import annotations

import hashlib
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Final

from engines.errors import PackageChanged, PackageError

SUMS: Final = "SHA256SUMS"
MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "package.sig"
"""Lies beside what it signs: a statement over `SHA256SUMS` and all that it lists."""
AGAIN: Final = "get the package again from its maker"

_LINE: Final = re.compile(r"([0-9a-f]{64})  (.+)")
_BLOCK: Final = 1 << 20
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[\d¹²³])(\..*)?", re.IGNORECASE)
_FORBIDDEN: Final = frozenset('\\:*?"<>|')
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories of letters that nobody sees: control, direction, half a pair, private, line ends."""
LONGEST: Final = 240
"""Letters of a path; Windows takes 259, the package's own folder included."""


def safe(path: str) -> str:
    """The path itself, if it is relative, portable and stays inside the package.

    Raises:
        PackageChanged: it is absolute, climbs out, is too long, or is another file elsewhere.
    """
    if len(path) > LONGEST or any(len(part.encode(errors="replace")) > 255 for part in path.split("/")):
        raise PackageChanged(
            f"The package has a file with {len(path)} letters ({path[:40]!r}...), which some systems cannot "
            "hold; do not use it."
        )
    parts = path.split("/")
    if (
        not path
        or not _FORBIDDEN.isdisjoint(path)
        or any(unicodedata.category(letter) in _UNSEEN for letter in path)
        or any(part in ("", ".", "..") or part != part.rstrip(". ") for part in parts)
        or any(_RESERVED.fullmatch(part) for part in parts)
    ):
        raise PackageChanged(f"The package names the file {path!r}, which may lie outside it; do not use it.")
    return path


def distinct(paths: Iterable[str]) -> None:
    """Check that no two paths, and no two folders on their way, are one on any system.

    Some systems fold the case of names, some compose letters from their parts.

    Raises:
        PackageChanged: two that are one, or a file that is a folder too.
    """
    spelled: dict[str, str] = {}
    files: set[str] = set()
    folders: set[str] = set()
    for path in paths:
        ends = [at for at, letter in enumerate(path) if letter == "/"]
        for end in (*ends, len(path)):
            part = path[:end]
            key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", part).casefold())
            (folders if end < len(path) else files).add(key)
            other = spelled.setdefault(key, part)
            if other != part:
                raise PackageChanged(
                    f"{path} and {other} are one on some systems, so it is there twice; {AGAIN}."
                )
    if both := sorted(files & folders):
        raise PackageChanged(f"{spelled[both[0]]} is a file and a folder, so it is there twice; {AGAIN}.")


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
        PackageChanged: a line that is none or not in its place, an unsafe path, or one that is there twice.
    """
    if not text:
        raise PackageChanged(f"{SUMS} is empty; {AGAIN}.")
    found: dict[str, str] = {}
    for line in text.removesuffix("\n").split("\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            raise PackageChanged(f"{SUMS} holds a line that is no digest ({line[:60]!r}); {AGAIN}.")
        path = safe(match[2])
        if path in found:
            raise PackageChanged(f"{SUMS} names {path} twice; {AGAIN}.")
        found[path] = match[1]
    distinct(found)
    if lines(found) != text:
        raise PackageChanged(f"{SUMS} is not sorted as its maker sorted it; {AGAIN}.")
    return found


def identity(text: str) -> str:
    """The package's id, from the text of its `SHA256SUMS`."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def walk(folder: Path) -> Iterator[str]:
    """Every file below a folder as a posix path, sorted; links are never followed.

    Raises:
        PackageChanged: a symbolic link, a device, a pipe, an empty folder or a path that is not portable.
    """
    found = []
    pending = [folder]
    while pending:
        there = pending.pop()
        entries = sorted(there.iterdir())
        if not entries and there != folder:
            raise PackageChanged(
                f"{there.relative_to(folder).as_posix()} is an empty folder, which no package has; remove it."
            )
        for entry in entries:
            kind = entry.lstat().st_mode
            name = safe(entry.relative_to(folder).as_posix())
            if stat.S_ISDIR(kind):
                pending.append(entry)
            elif stat.S_ISREG(kind):
                found.append(name)
            else:
                raise PackageChanged(f"{name} in the package is a link or no ordinary file; {AGAIN}.")
    yield from sorted(found)


def compare(listed: Mapping[str, str], present: Iterable[str]) -> None:
    """Check that the listed and the present files are the same ones (`SHA256SUMS` and the signature aside).

    Raises:
        PackageChanged: a file that is missing or not listed.
    """
    there = set(present) - {SUMS, SIGNATURE}
    if missing := sorted(set(listed) - there):
        raise PackageChanged(f"{missing[0]} is missing from the package{_more(missing)}; {AGAIN}.")
    if extra := sorted(there - set(listed)):
        raise PackageChanged(
            f"{extra[0]} is in the package but not in {SUMS}{_more(extra)}; remove it or {AGAIN}."
        )


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def changed(path: str) -> PackageChanged:
    """The error for a file that does not have its listed digest."""
    return PackageChanged(f"{path} was changed after the package was made; {AGAIN}.")


def read_sums(folder: Path) -> str:
    """The text of a package's `SHA256SUMS`.

    Raises:
        PackageError: it cannot be read.
    """
    try:
        return (folder / SUMS).read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        raise PackageError(f"{folder} holds no readable {SUMS}; give the folder of a package.") from None


def write(folder: Path) -> str:
    """Write `SHA256SUMS` for what lies in the folder and return the package's id."""
    names = [path for path in walk(folder) if path not in (SUMS, SIGNATURE)]
    distinct(names)
    text = lines({path: digest_file(folder / path) for path in names})
    (folder / SUMS).write_bytes(text.encode())
    return identity(text)


def directory_hash(digests: Mapping[str, str]) -> str:
    """Content address of a folder from relative path -> digest.

    As ONNX Runtime's model package computes it: the SHA-256 of the sorted
    lines `<sha256>  <posix path>`.
    """
    return hashlib.sha256(lines(digests).encode()).hexdigest()
