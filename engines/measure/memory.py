"""Memory of a process and all that it started, as the operating system counts it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

MIB: Final = 2**20


def resident(processes: Iterable[psutil.Process]) -> float:
    """Resident memory in MiB, summed; pages that processes share count once for each.

    A process that has ended counts nothing.
    """
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total / MIB


def high_water(pid: int) -> float:
    """The most resident memory that a process ever had, in MiB; 0 where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="ignore").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def without_a_name(pids: Iterable[int]) -> int:
    """Bytes in files that have no name and live in memory (memfd), which processes hold open (Linux)."""
    seen: dict[tuple[int, int], int] = {}
    for pid in pids:
        with suppress(OSError):
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if str(entry.readlink()).startswith("/memfd:"):
                        found = entry.stat()
                        seen[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(seen.values())
