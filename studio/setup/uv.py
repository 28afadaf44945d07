"""Running `uv`: its lines as they come, its death on request, and its errors as sentences."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

from studio.errors import Cancelled

Cause = Literal[
    "space", "rights", "proxy", "certificate", "network", "hash", "python", "absent", "damaged", "other"
]

TICK: Final = 0.25
"""Seconds between two looks at whether the user gave up."""

# In this order: the first that is found explains the rest.
_CAUSES: Final[tuple[tuple[Cause, tuple[str, ...]], ...]] = (
    (
        "space",
        (r"no space left", r"os error (28|112|122)\b", r"not enough space on the disk", r"disk quota"),
    ),
    ("hash", (r"hash mismatch", r"hashes? (do|does) not match")),
    (
        "proxy",
        (r"\b407\b", r"proxy authentication", r"tunnel error", r"proxy.{0,40}(refused|unreachable|error)"),
    ),
    (
        "certificate",
        (r"invalid peer certificate", r"unknownissuer", r"certificate verify failed", r"self.signed"),
    ),
    (
        "python",
        (r"no interpreter found", r"no python installations? found", r"no download found for request"),
    ),
    (
        "damaged",
        (r"invalid zip", r"not a valid zip", r"bad crc", r"failed to (extract|read archive)", r"corrupt"),
    ),
    (
        "network",
        (
            r"dns error",
            r"error sending request",
            r"failed to fetch",
            r"failed to download",
            r"timed? ?out",
            r"connection (reset|refused|closed|aborted)",
            r"unexpected eof",
            r"network is unreachable",
            r"incomplete message",
            r"error decoding response body",
            r"request failed after",
        ),
    ),
    (
        "absent",
        (
            r"not found in the (provided package locations|package registry|cache)",
            r"no solution found",
            r"no wheels? with a matching",
            r"because only .* (is|are) available",
            r"network connectivity is disabled",
            r"requirements are unsatisfiable",
        ),
    ),
    (
        "rights",
        (r"permission denied", r"os error (5|13|30)\b", r"read-only file system", r"access is denied"),
    ),
)


class UvFailed(Exception):
    """uv ended with an error; `lines` is what it said."""

    def __init__(self, code: int, lines: list[str]) -> None:
        super().__init__(f"uv ended with status {code}")
        self.code, self.lines = code, lines

    @property
    def cause(self) -> Cause:
        said = "\n".join(self.lines).lower()
        return next((name for name, signs in _CAUSES if re.search("|".join(signs), said)), "other")

    @property
    def last(self) -> str:
        """The line that says most, at most 200 characters."""
        marked = [line for line in self.lines if re.search(r"error|cause|×|failed", line, re.IGNORECASE)]
        return ((marked or self.lines or ["it said nothing"])[-1]).strip(" ×╰─▶├│")[:200]


class Child:
    """Runs one program at a time and can be stopped from another thread."""

    def __init__(
        self, environment: Mapping[str, str], on_line: Callable[[str], None], on_tick: Callable[[], None]
    ) -> None:
        self._environment = dict(environment)
        self._on_line, self._on_tick = on_line, on_tick
        self.cancelled = threading.Event()
        self.has_proxy = any(
            name.lower() in {"http_proxy", "https_proxy", "all_proxy"} and value
            for name, value in environment.items()
        )
        """Whether what it runs reaches the network through a proxy."""

    def run(self, *command: str | Path, timeout: float | None = None) -> list[str]:
        """Run to the end; everything that it said.

        Raises:
            Cancelled: `cancelled` was set; the program and its children are gone.
            UvFailed: it ended with an error, or after `timeout` seconds.
        """
        if self.cancelled.is_set():
            raise Cancelled
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        lines: list[str] = []
        arriving: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        reader = threading.Thread(target=_read, args=(process, arriving), daemon=True)
        reader.start()
        waited = 0.0
        try:
            while True:
                try:
                    line = arriving.get(timeout=TICK)
                except queue.Empty:
                    waited += TICK
                    if timeout is not None and waited > timeout:
                        raise UvFailed(-1, [*lines, f"timed out after {timeout:g} s"]) from None
                    self._on_tick()
                else:
                    if line is None:
                        break
                    lines.append(line)
                    self._on_line(line)
                if self.cancelled.is_set():
                    raise Cancelled
            code = process.wait()
        finally:
            _end(process)
            reader.join(timeout=5)
            if process.stdout is not None:
                process.stdout.close()
        if self.cancelled.is_set():
            raise Cancelled
        if code:
            raise UvFailed(code, lines)
        return lines


def _read(process: subprocess.Popen[str], into: queue.SimpleQueue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip():
            into.put(line.rstrip())
    into.put(None)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        if sys.platform == "win32":
            subprocess.run(
                ["taskkill", "/T", "/F", "/PID", str(process.pid)], check=False, capture_output=True
            )
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def environment(folder: Path, *, proxy: str = "") -> dict[str, str]:
    """For uv and the import check: uv keeps everything in `folder`; a user's own mirrors stay in force."""
    made = {
        name: value
        for name, value in os.environ.items()
        if name not in {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "CONDA_PREFIX", "UV_PROJECT_ENVIRONMENT"}
    }
    made.update(
        UV_CACHE_DIR=str(folder / "downloads"),
        UV_PYTHON_INSTALL_DIR=str(folder / "python"),
        UV_HTTP_TIMEOUT=made.get("UV_HTTP_TIMEOUT", "60"),
        NO_COLOR="1",
        PYTHONIOENCODING="utf-8",
        ORT_DISABLE_TELEMETRY="1",
    )
    if proxy:
        made.update(HTTPS_PROXY=proxy, HTTP_PROXY=proxy, https_proxy=proxy, http_proxy=proxy)
    return made
