"""The worker's own lines: events on a private copy of stdout, requests on a private copy of stdin."""

from __future__ import annotations

import io
import os
import sys
import threading
from typing import IO

from studio.record.data import Data
from studio.record.events import Event, event
from studio.record.protocol import encode


class Output:
    """Writes whole lines from any thread; a reader that has gone is not an error, only noted."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self.broken = threading.Event()

    def send(self, item: Event) -> None:
        with self._lock:
            if self.broken.is_set():
                return
            try:
                self._stream.write(encode(item))
                self._stream.flush()
            except (OSError, ValueError):
                self.broken.set()

    def tell(self, data: Data) -> None:
        """Send an event that belongs to no run."""
        self.send(event(data))


def private_streams() -> tuple[IO[str], IO[str]]:
    """Take stdin and stdout for the protocol alone.

    Afterwards whatever a library or a child process prints goes to stderr, and
    nothing but the worker reads requests.
    """
    sys.stdout.flush()
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8", errors="replace")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a log is read while it is written
    return requests, answers
