"""Pictures from disk, read beside the event loop and kept."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Final

from PySide6.QtCore import QObject, QRunnable, Qt, QThreadPool, Signal
from PySide6.QtGui import QImage

KEPT: Final = 96 * 2**20
"""Bytes of pictures kept in memory."""


class _Reply(QObject):
    read = Signal(str, QImage)


class _Read(QRunnable):
    """Decodes one file; an unreadable one gives a null image."""

    def __init__(self, path: str, reply: _Reply) -> None:
        super().__init__()
        self._path = path
        self._reply = reply

    def run(self) -> None:
        picture = QImage(self._path) if Path(self._path).is_file() else QImage()
        if not picture.isNull():
            picture = picture.convertToFormat(QImage.Format.Format_RGB32)
        self._reply.read.emit(self._path, picture)


class Pictures(QObject):
    """A store of pictures by path.

    Signals:
        ready(str): a picture asked for with `get` can be had now.
    """

    ready = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._kept: OrderedDict[str, QImage] = OrderedDict()
        self._bytes = 0
        self._asked: set[str] = set()
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)
        self._reply = _Reply()
        self._reply.read.connect(self._on_read, Qt.ConnectionType.QueuedConnection)

    def get(self, path: Path | str | None) -> QImage | None:
        """The picture, or None while it is being read (`ready` follows); null if unreadable."""
        if path is None:
            return None
        name = str(path)
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        if name not in self._asked:
            self._asked.add(name)
            self._pool.start(_Read(name, self._reply))
        return None

    def forget(self) -> None:
        """Drop everything: pictures of another run come."""
        self._kept.clear()
        self._bytes = 0

    def close(self) -> None:
        self._pool.clear()
        self._pool.waitForDone()

    def _on_read(self, name: str, picture: QImage) -> None:
        self._asked.discard(name)
        self._kept[name] = picture
        self._bytes += picture.sizeInBytes()
        while self._bytes > KEPT and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._bytes -= old.sizeInBytes()
        self.ready.emit(name)
