"""What a process prints: as much as is worth reading, however much it is."""

from __future__ import annotations

from collections import deque
from typing import Final

_SHOWN: Final = 12_000
"""Characters that are kept: the first half and the last."""


class Printed:
    """Output as it comes, shortened in the middle."""

    def __init__(self) -> None:
        self.length = 0
        """Characters that came, kept or not."""
        self._head, self._tail, self._kept = "", deque[str](), 0

    def add(self, text: str) -> None:
        """More of it."""
        half = _SHOWN // 2
        self.length += len(text)
        if len(self._head) < half:
            taken = half - len(self._head)
            self._head, text = self._head + text[:taken], text[taken:]
        text = text[-half:]
        if text:
            self._tail.append(text)
            self._kept += len(text)
        while self._tail and self._kept - len(self._tail[0]) >= half:
            self._kept -= len(self._tail.popleft())

    @property
    def text(self) -> str:
        """What is kept, with a line that says how much is not."""
        tail = "".join(self._tail)
        left_out = self.length - len(self._head) - len(tail)
        middle = f"\n... {left_out} characters left out ...\n" if left_out > 0 else ""
        return self._head + middle + tail


def shortened(text: str) -> str:
    """A text without its middle where it is long."""
    if len(text) <= _SHOWN:
        return text
    half = _SHOWN // 2
    return f"{text[:half]}\n... {len(text) - _SHOWN} characters left out ...\n{text[-half:]}"
