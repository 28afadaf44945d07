"""Simulations in the window: a few milliseconds at a time, between two frames."""

from __future__ import annotations

import time
from collections.abc import Sequence

from PySide6.QtCore import QObject, QTimer, Signal

from studio.plan.outcome import Outcome
from studio.plan.policies import POLICIES
from studio.plan.service import Service
from studio.plan.simulator import Simulation
from studio.plan.tables import Tables
from studio.plan.traces import Trace

SLICE = 0.006
"""Seconds of computing before the window has its turn."""
_EVENTS = 100


class Replay(QObject):
    """Runs policies one after the other under one trace.

    Signals:
        found(Outcome): a policy is at its end.
        progress(float): share of the whole.
        ended(): every policy is, or `stop` was called.
    """

    found = Signal(object)
    progress = Signal(float)
    ended = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._timer = QTimer(self, interval=0)
        self._timer.timeout.connect(self._advance)
        self._left: list[str] = []
        self._total = 0
        self._run: Simulation | None = None
        self._given: tuple[Tables, Service, Trace, int] | None = None

    @property
    def running(self) -> bool:
        return self._timer.isActive()

    def start(
        self, tables: Tables, service: Service, trace: Trace, names: Sequence[str], *, seed: int = 0
    ) -> None:
        """Begin; what was running is given up.

        Raises:
            PlanError: tables, service and trace do not fit each other.
        """
        self._timer.stop()
        self._given = (tables, service, trace, seed)
        self._left = list(names)
        self._total = len(names)
        self._next()
        self._timer.start()

    def stop(self) -> None:
        """Give up; what was found stays."""
        if self.running:
            self._timer.stop()
            self._run = None
            self.ended.emit()

    def _next(self) -> None:
        assert self._given is not None
        tables, service, trace, seed = self._given
        make = POLICIES[self._left.pop(0)]
        self._run = Simulation(tables, service, trace, make(tables, service, trace), seed=seed)

    def _advance(self) -> None:
        assert self._run is not None
        until = time.perf_counter() + SLICE
        done = False
        while not done and time.perf_counter() < until:
            done = self._run.advance(_EVENTS)
        part = (self._total - len(self._left) - 1 + self._run.progress) / self._total
        self.progress.emit(part)
        if not done:
            return
        outcome: Outcome = self._run.outcome()
        self._run = None
        if self._left:
            self._next()
            self.found.emit(outcome)
        else:
            self._timer.stop()
            self.found.emit(outcome)
            self.ended.emit()
