"""How a run hears from the outside: pause, stop, leave, and work to be done between two candidates."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

Wish = Literal["go", "pause", "stop", "leave"]
"""`leave`: end as if killed, but in order: the run can be resumed."""

LONGEST_WISH: Final = 1000
"""Characters of a sentence to the agent."""


class Control:
    """Shared by the worker's reader thread (which wishes) and the run's thread (which obeys)."""

    def __init__(self, between: Callable[[float], bool] | None = None) -> None:
        self._changed = threading.Condition()
        self._wish: Wish = "go"
        self._abort = False
        self._between = between
        self.certify_on_stop = False
        self.on_abort: Callable[[], None] | None = None
        """Ends the candidate in flight, so that whoever waits for it goes on."""
        self.run = ""
        """Id of the run, once it has one."""
        self._said: deque[str] = deque()
        self._decided: dict[str, bool] = {}

    @property
    def wish(self) -> Wish:
        return self._wish

    @property
    def abort(self) -> bool:
        """Whether the candidate in flight is to be given up."""
        return self._abort

    def set(self, wish: Wish, *, abort: bool = False) -> None:
        """`leave` and `stop` are final; `pause` and `go` may follow each other."""
        with self._changed:
            if self._wish == "leave" or (self._wish == "stop" and wish != "leave"):
                self._abort = self._abort or abort
            else:
                self._wish = wish
                self._abort = abort
            self._changed.notify_all()
        end = self.on_abort
        if abort and end is not None:
            end()

    def steer(self, text: str) -> None:
        """A sentence for the agent; the run takes it in before its next plan."""
        self._said.append(text)

    def heard(self) -> list[str]:
        """What was said since the last time."""
        found = []
        while self._said:
            found.append(self._said.popleft())
        return found

    def decide(self, candidate: str, *, run: bool) -> None:
        """The user's word on a candidate that waits for it."""
        with self._changed:
            self._decided[candidate] = run
            self._changed.notify_all()

    def decision(self, candidate: str) -> bool | None:
        """What the user said to a candidate, once; None: nothing yet."""
        return self._decided.pop(candidate, None)

    def between(self, seconds: float = 0.0) -> None:
        """Let the owner do all waiting work, or wait for some `seconds`; called between two candidates."""
        if self._between is not None:
            while self._between(seconds):
                seconds = 0.0
        elif seconds:
            with self._changed:
                self._changed.wait(seconds)
