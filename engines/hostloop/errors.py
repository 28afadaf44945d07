"""What can go wrong in the host loop.

    LoopError       settings or inputs that make no sense
    Cancelled       raised by an `on_step` callback to stop a generation

The text of each is one sentence: what was wrong with which input, and what to do.
"""

from __future__ import annotations


class LoopError(ValueError):
    """Settings, schedules or inputs that make no sense."""


class Cancelled(Exception):
    """Raise it inside `on_step` to stop; nothing of the generation is kept."""
