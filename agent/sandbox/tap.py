"""A pipe in a candidate's folder through which its process tells what it does while it does it.

What was written to it is out of the process's reach at once.  Its name is new
each time and is taken away as soon as the first bytes are there, so that
nobody else in the process opens it by its name.  Where the system has no named
pipes (Windows) it is a file, read once the process has answered.
"""

from __future__ import annotations

import os
import secrets
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

_MOST: Final = 4 << 30
"""Bytes that are read at most; whoever writes more is cut off."""
_CHUNK: Final = 1 << 18
_LOOK: Final = 0.05


class Tap:
    """Gives `on_bytes` all that is written to `path`, in a thread of its own, until `close`."""

    def __init__(self, folder: Path, on_bytes: Callable[[bytes], None]) -> None:
        """Raises `OSError` where the folder cannot be written."""
        self.path = folder / f"{secrets.token_hex(12)}.json"
        self._on_bytes = on_bytes
        self._ended = threading.Event()
        self._pipe: int | None = None
        if hasattr(os, "mkfifo"):
            os.mkfifo(self.path)
            self.path.chmod(0o622)  # the candidate's user is another one
            self._pipe = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
            self._thread = threading.Thread(target=self._read, name="census", daemon=True)
            self._thread.start()

    def _read(self) -> None:
        assert self._pipe is not None
        total = 0
        with suppress(OSError):
            while total < _MOST:
                ready, _, _ = select.select([self._pipe], [], [], _LOOK)
                chunk = os.read(self._pipe, _CHUNK) if ready else b""
                if chunk:
                    if not total:
                        self.path.unlink(missing_ok=True)
                    total += len(chunk)
                    self._on_bytes(chunk)
                elif self._ended.is_set():
                    return  # nothing is left in it, and its writer has answered
                elif ready:
                    self._ended.wait(_LOOK)  # nobody has opened it yet, or nobody has any longer

    def close(self) -> None:
        """Read what is left and take the pipe away."""
        self._ended.set()
        if self._pipe is not None:
            self._thread.join(60.0)
            with suppress(OSError):
                os.close(self._pipe)
        else:
            with suppress(OSError):
                self._on_bytes(self.path.read_bytes()[:_MOST])
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
