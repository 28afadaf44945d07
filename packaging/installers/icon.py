"""The program's icon from its drawing: PNG, Windows' .ico, macOS' .icns."""

from __future__ import annotations

import struct
from pathlib import Path


def png(drawing: Path, size: int) -> bytes:
    """`size` x `size` pixels."""
    from PySide6.QtCore import QBuffer, QByteArray, QRectF, Qt
    from PySide6.QtGui import QImage, QPainter
    from PySide6.QtSvg import QSvgRenderer
    from PySide6.QtWidgets import QApplication

    # A window's application, so that whatever else this process shows can use it too.
    if QApplication.instance() is None:
        QApplication(["icon", "-platform", "offscreen"])
    image = QImage(size, size, QImage.Format.Format_ARGB32)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    QSvgRenderer(str(drawing)).render(painter, QRectF(0, 0, size, size))
    painter.end()
    held = QByteArray()
    buffer = QBuffer(held)
    buffer.open(QBuffer.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")
    return bytes(held.data())


def ico(drawing: Path) -> bytes:
    """16 to 256 pixels, each a PNG (Windows Vista and later)."""
    pictures = [(size, png(drawing, size)) for size in (16, 24, 32, 48, 64, 256)]
    head = struct.pack("<HHH", 0, 1, len(pictures))
    place = len(head) + 16 * len(pictures)
    entries, bodies = b"", b""
    for size, picture in pictures:
        entries += struct.pack(
            "<BBBBHHII", size % 256, size % 256, 0, 0, 1, 32, len(picture), place + len(bodies)
        )
        bodies += picture
    return head + entries + bodies


def icns(drawing: Path) -> bytes:
    """128 to 1024 pixels, each a PNG."""
    body = b""
    for kind, size in ((b"ic07", 128), (b"ic08", 256), (b"ic09", 512), (b"ic10", 1024)):
        picture = png(drawing, size)
        body += kind + struct.pack(">I", 8 + len(picture)) + picture
    return b"icns" + struct.pack(">I", 8 + len(body)) + body
