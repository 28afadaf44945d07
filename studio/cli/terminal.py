"""Where the commands write: `rich` for people, JSON for machines, one sentence for what went wrong.

Libraries print and warn as they like; their output goes to a log file, so it
spoils neither a progress bar nor a JSON document.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from studio.record.events import Event

if TYPE_CHECKING:
    from rich.console import Console

PIPED = 120
"""Columns where nobody says how wide the output is."""


class Terminal:
    """Owns the process's stdout and stderr from its construction until it is closed."""

    def __init__(self, home: Path, *, machine: bool) -> None:
        self.machine = machine
        self.log: Path | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        # Windows consoles and pipes may not take every letter; none of them is worth a failure.
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
        self._error = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
        self._redirect(home)
        self._console: Console | None = None

    def _redirect(self, home: Path) -> None:
        path = home / "logs" / "commands.log"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size > 4 << 20:
                path.replace(path.with_suffix(".old.log"))
            log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            self.log = path
        except OSError:
            log = os.open(os.devnull, os.O_WRONLY)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)

    @property
    def console(self) -> Console:
        """For people; made when first used."""
        if self._console is None:
            from rich.console import Console

            width = None if self._out.isatty() else PIPED
            self._console = Console(file=self._out, highlight=False, width=width)
        return self._console

    def say(self, text: str = "") -> None:
        """A line for people; nothing for machines."""
        if not self.machine:
            self.console.print(text)

    def document(self, value: dict[str, Any]) -> None:
        """The one document of a command; nothing for people."""
        if self.machine:
            print(json.dumps(value, ensure_ascii=False), file=self._out, flush=True)

    def event(self, item: Event) -> None:
        """One event a line, for machines."""
        if self.machine:
            print(item.model_dump_json(), file=self._out, flush=True)

    def fail(self, text: str, detail: str = "", *, expected: bool = True) -> None:
        """One sentence on stderr; the detail goes to the log."""
        if detail:
            os.write(2, detail.encode(errors="replace") + b"\n")
        if not expected and self.log is not None:
            text += f" (the detail is in {self.log})"
        if self.machine:
            self.document({"error": text})
        print(f"pareto-studio: {text}", file=self._error, flush=True)

    @property
    def streams(self) -> tuple[IO[str], IO[str]]:
        """Stdout and stderr as they were: for a program that speaks for itself."""
        return self._out, self._error

    def close(self) -> None:
        """Give stdout and stderr back; a reader that has gone (`| head`) is no error."""
        sys.stdout.flush()
        sys.stderr.flush()
        for number, stream in ((1, self._out), (2, self._error)):
            os.dup2(stream.fileno(), number)
            with contextlib.suppress(BrokenPipeError):
                stream.close()
