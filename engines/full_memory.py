"""Errors by which runtimes say that a device's memory is full, and what to do about it."""

from __future__ import annotations

import re
from typing import Final

_WORDS: Final = ("out of memory", "failed to allocate memory", "can't allocate memory", "alloc_failed")
_WANTED: Final = re.compile(r"tried to allocate ([\d.]+ \w+)|buffer of size (\d+)", re.IGNORECASE)
_FREE: Final = re.compile(r"total capacity of ([\d.]+ \w+) of which ([\d.]+ \w+) is free")


def is_full(error: BaseException) -> bool:
    """Whether a device's memory is full; each runtime has its own words for it."""
    text = str(error).lower()
    return type(error).__name__ in ("OutOfMemoryError", "MemoryError") or any(word in text for word in _WORDS)


def ran_out(error: BaseException, device: str = "the device", where: str = "") -> str:
    """What was wanted and what there was, as far as the runtime says, without a full stop."""
    found = f"{device} ran out of memory{where}"
    if wanted := _WANTED.search(str(error)):
        found += f": {wanted[1] or f'{wanted[2]} bytes'} more were wanted"
        if free := _FREE.search(str(error)):
            found += f" and {free[2]} of {free[1]} were free"
    return found


def explained(error: BaseException, where: str = "") -> str:
    """One sentence: how much was wanted where, and what to do."""
    return (
        f"{ran_out(error, 'The device', where)}; use a smaller batch or size, a lower precision, or"
        " sequential-guidance."
    )
