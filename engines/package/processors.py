"""Which of the machine's processors this process may use; travels inside a package."""

from __future__ import annotations

import os


def cores() -> int:
    """Processors that a container, `taskset` or a job's limits leave to this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def restricted() -> int:
    """Threads to ask ONNX Runtime for; 0: as it likes.

    It counts the machine's processors and not those that it may use: its threads then wait for each other.
    """
    return cores() if cores() < (os.cpu_count() or 1) else 0
