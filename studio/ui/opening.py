"""Packages that are given to the program from outside: dropped on the window, or opened by the system."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from PySide6.QtCore import QEvent, QMimeData, QObject
from PySide6.QtGui import QFileOpenEvent
from PySide6.QtWidgets import QApplication

SUFFIX: Final = ".pareto"
_MANIFEST: Final = "manifest.json"


def dropped_package(dropped: QMimeData) -> Path | None:
    """The archive or unpacked package that is dropped; None where it is something else."""
    urls = dropped.urls()
    if not urls or not urls[0].isLocalFile():
        return None
    place = Path(urls[0].toLocalFile())
    if place.is_dir():
        return place if (place / _MANIFEST).is_file() else None
    if place.name == _MANIFEST:
        return place.parent
    return place if place.suffix.lower() == SUFFIX else None


class FileOpener(QObject):
    """macOS gives a program the file that was double-clicked as an event, also while it runs.

    It sees every event of the program: for macOS only.
    """

    def __init__(self, application: QApplication, take: Callable[[Path], None]) -> None:
        super().__init__(application)
        self._take = take
        application.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QFileOpenEvent) and event.file():
            self._take(Path(event.file()))
            return True
        return super().eventFilter(watched, event)
