"""One writer per run: a lock that the operating system gives back when its holder dies."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import IO, Any

from studio.errors import RunLocked

NAME = "lock"
_OFFSET = 1 << 30
"""The locked byte lies far behind the text, so that others can read who holds it (Windows)."""

_held: set[Path] = set()


def _acquire(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(_OFFSET)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            # Record locks, unlike flock, are not inherited by forked children:
            # a candidate that outlives a killed worker holds nothing.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _OFFSET)
    except OSError:
        return False
    return True


class RunLock:
    """Held from construction to `release`.

    A lock left by a killed process is taken over without a word, because the
    operating system has already released it.

    Raises:
        RunLocked: another process, or this one, writes the run.
    """

    def __init__(self, folder: Path, *, wait: float = 0.5) -> None:
        self._path = (folder / NAME).resolve()
        deadline = time.monotonic() + wait
        while True:
            if self._path not in _held:
                self._file = self._path.open("a+b")
                if _acquire(self._file):
                    break
                self._file.close()
            if time.monotonic() >= deadline:
                raise RunLocked(
                    f"The run {folder.name} is being written by {_holder(self._path)}; "
                    "stop it there or wait until it has finished."
                )
            time.sleep(0.05)
        _held.add(self._path)
        self._file.seek(0)
        self._file.truncate()
        self._file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        self._file.flush()

    def release(self) -> None:
        if self._path in _held:
            _held.discard(self._path)
            self._file.close()

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_locked(folder: Path) -> bool:
    """Whether a live process writes this run."""
    path = (folder / NAME).resolve()
    if path in _held:
        return True
    try:
        with path.open("r+b") as file:
            return not _acquire(file)
    except OSError:
        return False


def _holder(path: Path) -> str:
    if path in _held:
        # Closing the file, even after reading only, would give this process's own lock back (POSIX).
        return f"this process ({os.getpid()})"
    try:
        holder: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return "another process"
    return f"process {holder.get('pid')} on {holder.get('host')}"
