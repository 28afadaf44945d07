"""Pictures as arrays: reading them, and where two of them differ."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QImage

Pixels = NDArray[np.uint8]
"""(H, W, 3), RGB."""


def pixels(picture: QImage) -> Pixels:
    """A copy of a picture as uint8 (H, W, 3), RGB."""
    converted = picture.convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(converted.constBits(), np.uint8).reshape(
        converted.height(), converted.bytesPerLine()
    )
    return rows[:, : converted.width() * 3].reshape(converted.height(), converted.width(), 3).copy()


def difference(a: Pixels, b: Pixels) -> Pixels:
    """|a - b| per colour, uint8 (H, W, 3)."""
    return np.maximum(a, b) - np.minimum(a, b)


def psnr(a: Pixels, b: Pixels) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal pictures."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


@cache
def heat_colours() -> list[int]:
    """256 colours from black over violet and orange to pale yellow (as inferno), as 0xFFRRGGBB."""
    knots = np.array(
        [[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]]
    )
    at = np.linspace(0, len(knots) - 1, 256)
    red, green, blue = (np.interp(at, range(len(knots)), knots[:, part]).astype(int) for part in range(3))
    return [
        0xFF000000 | int(r) << 16 | int(g) << 8 | int(b) for r, g, b in zip(red, green, blue, strict=True)
    ]


def difference_image(a: Pixels, b: Pixels, gain: int) -> QImage:
    """The difference of each colour, `gain` times, as a picture."""
    shown = np.minimum(difference(a, b).astype(np.uint16) * gain, 255).astype(np.uint8)
    height, width, _ = shown.shape
    made = QImage(shown.tobytes(), width, height, width * 3, QImage.Format.Format_RGB888)
    return made.convertToFormat(QImage.Format.Format_RGB32)


def heat_image(a: Pixels, b: Pixels, gain: int) -> QImage:
    """The largest difference of each pixel, `gain` times, as a colour from black to yellow."""
    largest = difference(a, b).max(axis=2).astype(np.uint16) * gain
    shown = np.minimum(largest, 255).astype(np.uint8)
    height, width = shown.shape
    made = QImage(shown.tobytes(), width, height, width, QImage.Format.Format_Indexed8)
    made.setColorTable(heat_colours())
    return made.convertToFormat(QImage.Format.Format_RGB32)
