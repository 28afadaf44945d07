"""The line icons of `assets/icons`, drawn in a theme's colour at any density."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

_ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (_ROOT / "assets" / "icons", _ROOT / "engines" / "_assets" / "icons")
"""In the repository, and in an installed wheel."""


def folder() -> Path:
    """Where the icons are."""
    return next((one for one in FOLDERS if one.is_dir()), FOLDERS[0])


@lru_cache(maxsize=256)
def pixmap(name: str, colour: str, size: int, ratio: float = 1.0) -> QPixmap:
    """An icon of `size` logical pixels in `#RRGGBB`; empty where the file is missing."""
    made = QPixmap(round(size * ratio), round(size * ratio))
    made.fill(Qt.GlobalColor.transparent)
    path = folder() / f"{name}.svg"
    if path.is_file():
        drawing = QSvgRenderer(QByteArray(path.read_bytes().replace(b"currentColor", colour.encode())))
        painter = QPainter(made)
        drawing.render(painter, QRectF(0, 0, made.width(), made.height()))
        painter.end()
    made.setDevicePixelRatio(ratio)
    return made


def icon(name: str, colour: str, size: int = 18) -> QIcon:
    """An icon for buttons, sharp at 1x and 2x."""
    made = QIcon(pixmap(name, colour, size, 1.0))
    made.addPixmap(pixmap(name, colour, size, 2.0))
    return made
