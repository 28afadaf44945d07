"""What the window remembers between sittings.

What a person set goes through `studio.record.settings` (the command line
reads it too); what only a window has (geometry, splitters, page, selection,
zoom, size of text) goes into `window.ini` beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QByteArray, QObject, QSettings, QTimer, Signal
from PySide6.QtWidgets import QSplitter

from studio.record import settings as record
from studio.record.events import Notice

SAVE_AFTER = 700
"""ms without another change before the settings are written."""


class Sitting(QObject):
    """The settings in force and the window's own memory.

    Signals:
        changed(): a setting has another value.
    """

    changed = Signal()

    def __init__(self, home: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.home = home
        self.settings, self.notices = record.load(home)
        self._store = QSettings(str(home / "window.ini"), QSettings.Format.IniFormat)
        self._timer = QTimer(self, singleShot=True, interval=SAVE_AFTER)
        self._timer.timeout.connect(self.save)
        self._dirty = False

    def change(self, **values: Any) -> None:
        """Replace settings by name; written soon and on close."""
        self.settings = record.Settings.model_validate({**self.settings.model_dump(), **values})
        self._dirty = True
        self._timer.start()
        self.changed.emit()

    def opened(self, model: str) -> None:
        """Put a model at the head of the recent ones."""
        self.settings = self.settings.opened(model)
        self._dirty = True
        self._timer.start()

    def text(self, key: str, default: str = "") -> str:
        value = self._store.value(key, default)
        return value if isinstance(value, str) else default

    def real(self, key: str, default: float) -> float:
        try:
            return float(self.text(key, str(default)))
        except ValueError:
            return default

    def put(self, key: str, value: str | float) -> None:
        self._store.setValue(key, str(value))

    def blob(self, key: str) -> QByteArray | None:
        value = self._store.value(key)
        return value if isinstance(value, QByteArray) else None

    def put_blob(self, key: str, value: QByteArray) -> None:
        self._store.setValue(key, value)

    def follow(self, name: str, splitter: QSplitter) -> None:
        """Put a splitter's handles where they were, and remember where they go."""
        state = self.blob(f"splitter/{name}")
        if state is not None:
            splitter.restoreState(state)
        splitter.splitterMoved.connect(lambda *_: self.put_blob(f"splitter/{name}", splitter.saveState()))

    def save(self) -> Notice | None:
        """Write everything now; a notice where the folder cannot be written."""
        self._timer.stop()
        self._store.sync()
        if not self._dirty:
            return None
        try:
            record.save(self.home, self.settings)
        except OSError as error:
            return Notice(
                level="warning",
                text=f"The settings cannot be saved in {self.home} ({error.strerror or error}); "
                "check space and rights.",
            )
        self._dirty = False
        return None
