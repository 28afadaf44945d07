"""A job: one thing that a front end asked for, and how it says how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from studio.errors import Cancelled
from studio.record.events import Event
from studio.record.library import find_run
from studio.work.control import Control

OnProgress = Callable[[int, int, str], None]
"""`(done, total, doing)`."""


def _silent(_done: int, _total: int, _doing: str) -> None:
    return


OnPoint = Callable[[str, int, dict[str, float | None]], None]
"""`(curve, at, values)`."""


def _unseen(_curve: str, _at: int, _values: dict[str, float | None]) -> None:
    return


def _unheard(_event: Event) -> None:
    return


@dataclass(frozen=True, slots=True)
class Job:
    """What a command's function is given beside its arguments."""

    home: Path
    number: int = 0
    on_progress: OnProgress = _silent
    cancelled: threading.Event = field(default_factory=threading.Event)
    emit: Callable[[Event], None] = _unheard
    """Where events go once they are in the journal."""
    on_point: OnPoint = _unseen
    control: Control = field(default_factory=Control)
    """How a run hears of pause and stop."""

    def progress(self, done: int, total: int, doing: str) -> None:
        """Tell the user how far the job is; also the place where it can be cancelled.

        Raises:
            Cancelled: the user gave the job up.
        """
        self.check()
        self.on_progress(done, total, doing)

    def point(self, curve: str, at: int, values: dict[str, float | None]) -> None:
        """Tell the user one more point of a curve that grows while the job goes on."""
        self.on_point(curve, at, values)

    def check(self) -> None:
        """Raises `Cancelled` once the user gave the job up."""
        if self.cancelled.is_set():
            raise Cancelled

    def run_folder(self, run: str) -> Path:
        """The folder of a run given by id, path or `last`; raises `RunError`."""
        return find_run(self.home, run)
