"""What other programs take of this machine's processors while something is timed."""

from __future__ import annotations

import time
from typing import Final

import psutil

_AT_REST: Final = ("idle", "iowait", "guest", "guest_nice")  # guests' time is in `user` already


class Neighbours:
    """Watches from where it is made; asking costs a few microseconds and no thread."""

    def __init__(self) -> None:
        self._own = psutil.Process()
        self._began = self._now()

    def share(self, ours: float = 0.0) -> float:
        """Share of all processors that others used since then, 0 to 1.

        `ours` are the CPU seconds of processes that are not others, beside this one.
        """
        (seconds, busy, mine), (then, busy_then, mine_then) = self._now(), self._began
        others = (busy - busy_then) - (mine - mine_then) - ours
        return min(1.0, max(0.0, others / max(seconds - then, 1e-9) / (psutil.cpu_count() or 1)))

    def _now(self) -> tuple[float, float, float]:
        """Wall seconds; CPU seconds of the whole machine; of this process."""
        times = psutil.cpu_times()._asdict()
        busy = sum(value for name, value in times.items() if name not in _AT_REST)
        return time.monotonic(), busy, sum(self._own.cpu_times()[:2])
