"""What of a package's folder was checked, file by file; travels inside it (standard library only).

Engines open their files by name, some time after these were checked, and the engine processes of a server
open files that the server checked. Nobody reads gigabytes twice for that: a file that was checked has a
*mark*, and as long as its mark is the same its bytes are.

Why that is sound. A mark is device, inode, size and the times of the last change of content and of state,
taken from the file while it was open to be read, before and after. No program can set the last of them:
writing, putting another file in its place, `utime` and `chmod` all set it to now. Clocks are coarse, so
only a file that had lain still for `STILL` seconds when its reading began gets a mark (git's rule for its
index): whatever happens to it later gets another time. Where that time is no change of state (on Windows,
creation) no mark is handed on, and each process reads the bytes itself. Marks come from the process that
started this one, by its standard input; who can write there decides anyway what runs. A file without a
mark, or with another one, is read and its digest compared, and the list of digests must be the very one
that the marks were made for.

Who can write into the folder while the package runs can change `run.py`: no check inside it protects from
that, with marks or without.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from engines.errors import PackageChanged, PackageError
from engines.package.processors import cores
from engines.package.sums import SUMS, changed, compare, identity, parse, read_sums, walk

Mark = tuple[int, ...]
"""Device, inode, size, ns of the last change of content, ns of the last change of state."""
STILL: Final = 3.0
"""Seconds: more than the coarsest clock of a file system (FAT's, 2 s)."""
HANDED: Final = os.name == "posix"
"""Whether a file has a time of its last change of state here."""


class Seal:
    """A folder's names compared with its list of digests; bytes are read when they are asked for.

    Args:
        handed: what `hand_on` of the process that started this one gave.

    Raises:
        PackageError: no package; `PackageChanged`: one that is not as it was made.
    """

    def __init__(self, folder: Path, handed: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        text = read_sums(folder)
        self.id = identity(text)
        self._listed = parse(text)
        self.digests = self._listed | {SUMS: self.id.removeprefix("sha256:")}
        """Path -> SHA-256 of every file but the signature, as the list says."""
        self.bytes = 0
        """That were read."""
        self.seconds = 0.0
        """That reading took."""
        self._marks: dict[str, Mark] = {}
        if handed is not None:
            if handed["id"] != self.id:
                raise PackageChanged(
                    f"{folder} holds another package than when the server was started; start it again."
                )
            self._marks = {str(path): tuple(mark) for path, mark in handed["marks"].items()}
        with _sentences(folder):
            compare(self._listed, walk(folder))

    def check(self, paths: Iterable[str] | None = None) -> None:
        """Check the bytes of these files, by default all; one that has its mark is not read again.

        Raises:
            PackageChanged: one of them is not as it was made.
        """
        start = time.perf_counter()
        with _sentences(self.folder):
            wanted = {
                path: size
                for path in (self._listed if paths is None else paths)
                if (size := self._size_to_read(path)) is not None
            }
            if not wanted:
                return
            largest_first = sorted(wanted, key=lambda path: -wanted[path])
            with ThreadPoolExecutor(min(cores(), len(wanted))) as pool:
                found = dict(zip(largest_first, pool.map(self._digest, largest_first), strict=True))
        self.bytes += sum(wanted.values())
        self.seconds += time.perf_counter() - start
        for path in wanted:
            if found[path] != self._listed.get(path):
                raise changed(path)

    def check_within(self, folder: str) -> None:
        """`check` of what lies in one folder of the package."""
        self.check(path for path in self._listed if path.startswith(f"{folder}/"))

    def read(self, path: str) -> bytes:
        """The bytes of a file, which are those that were checked.

        Raises:
            PackageChanged: it is not as it was made.
        """
        with _sentences(self.folder):
            content = (self.folder / path).read_bytes()
        if hashlib.sha256(content).hexdigest() != self._listed.get(path):
            raise changed(path)
        return content

    def hand_on(self) -> dict[str, Any]:
        """For a process that this one starts: JSON."""
        return {"id": self.id, "marks": {path: list(mark) for path, mark in self._marks.items() if HANDED}}

    def _size_to_read(self, path: str) -> int | None:
        """Bytes; `None` where they were read, and have not changed since."""
        there = (self.folder / path).lstat()
        return None if self._marks.get(path) == _mark(there) else there.st_size

    def _digest(self, path: str) -> str:
        begun = time.time_ns()
        with (self.folder / path).open("rb") as file:
            before = _mark(os.fstat(file.fileno()))
            found = hashlib.file_digest(file, "sha256").hexdigest()
            after = _mark(os.fstat(file.fileno()))
        self._marks.pop(path, None)
        if before == after and begun - max(before[-2:]) > STILL * 1e9 and found == self._listed.get(path):
            self._marks[path] = before
        return found


def check_folder(folder: Path) -> str:
    """Check every byte of a package's folder and return its id.

    Raises:
        PackageError: no package; `PackageChanged`: one that is not as it was made.
    """
    seal = Seal(folder)
    seal.check()
    return seal.id


def _mark(there: os.stat_result) -> Mark:
    return (there.st_dev, there.st_ino, there.st_size, there.st_mtime_ns, there.st_ctime_ns)


@contextmanager
def _sentences(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PackageError(
            f"{folder} cannot be read ({error.strerror or error}); check its permissions."
        ) from None
