"""Garbage of the window is collected in its own thread.

Python collects in whichever thread an allocation crosses its threshold, those that read pictures too; a timer
or a widget that is destroyed there takes the process down (a segmentation fault in PySide's library).

What stays as long as the window does, its modules and pages, is set aside (`gc.freeze`): going over it all
takes a tenth of a second, in which the window would stand still.
"""

from __future__ import annotations

import gc
from typing import Final

from PySide6.QtCore import QObject, QTimer

EVERY: Final = 500
"""Milliseconds between two looks at what has gathered."""


class Collector(QObject):
    """Collects by Python's own thresholds, in the thread of its parent; nobody else collects until `stop`."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._thresholds = gc.get_threshold()
        gc.disable()
        self.keep()
        self._timer = QTimer(self, interval=EVERY)
        self._timer.timeout.connect(self.look)
        self._timer.start()

    def look(self) -> None:
        """Collect the oldest generation that is due, the younger ones with it."""
        counts = gc.get_count()
        due = [age for age, most in enumerate(self._thresholds) if most and counts[age] > most]
        if due:
            gc.collect(due[-1])

    def keep(self) -> None:
        """What there is now stays, and is not gone over again until `stop`."""
        gc.freeze()

    def stop(self) -> None:
        """Python collects by itself again, and everything."""
        self._timer.stop()
        gc.unfreeze()
        gc.enable()
