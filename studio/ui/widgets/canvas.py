"""Two pictures of the same size under one zoom: six ways to see where they differ.

Plain QPainter; the difference and the heat map are made once per pair in
numpy.  Zoom and place belong to both pictures, so that the same point of both
is always under the pointer.
"""

from __future__ import annotations

from typing import Final, Literal

from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QHideEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QShowEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from studio.ui.pixels import Pixels, difference, difference_image, heat_image, pixels, psnr
from studio.ui.theme import GREY, SMALL, Theme

Mode = Literal["side", "wipe", "swap", "blink", "difference", "heat"]
MODES: Final[tuple[Mode, ...]] = ("side", "wipe", "swap", "blink", "difference", "heat")
TITLES: Final[dict[Mode, str]] = {
    "side": "Side by side",
    "wipe": "Wipe",
    "swap": "Swap",
    "blink": "Blink",
    "difference": "Difference",
    "heat": "Heat map",
}
BLINK: Final = 250
"""ms that each picture is shown: two full changes a second, under the three that WCAG 2.3.1 allows."""
GAP: Final = 2
ZOOMS: Final = (0.0, 1.0, 2.0)
"""What `cycle_zoom` goes through; 0 fits."""


class Canvas(QWidget):
    """Shows A and B.

    Signals:
        pointed(str): what is under the pointer in A, B and the difference; empty outside.
        zoomed(float): pixels of the screen per pixel of the picture; 0 fits.
        flipped(bool): B is at A's place now, or back again.
    """

    pointed = Signal(str)
    zoomed = Signal(float)
    flipped = Signal(bool)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setMinimumSize(240, 180)
        self.setAccessibleName("Pictures A and B")
        self._mode: Mode = "side"
        self._a, self._b = QImage(), QImage()
        self._given = QImage()
        self._names = ("A", "B")
        self._labels = True
        self._difference, self._heat = QImage(), QImage()
        self._arrays: tuple[Pixels, Pixels] | None = None
        self._gain = 1
        self._zoom = 0.0
        self._centre = QPointF(0.5, 0.5)
        self._wipe = 0.5
        self._drag: QPointF | None = None
        self._wiping = False
        self._flip = False
        self._hold = False
        self._black = False
        self._blink = QTimer(self, interval=BLINK)
        self._blink.timeout.connect(self._on_blink)
        theme.changed.connect(self.update)

    # -- what is shown --------------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        return self._mode

    @property
    def zoom(self) -> float:
        return self._zoom

    @property
    def wipe(self) -> float:
        """Place of the wipe's line, 0 (only B) to 1 (only A)."""
        return self._wipe

    @property
    def is_flipped(self) -> bool:
        return self._flip

    def show_pair(self, a: QImage | None, b: QImage | None, names: tuple[str, str] = ("A", "B")) -> None:
        """Show two pictures; zoom and place stay."""
        self._a, self._b = a or QImage(), b or QImage()
        self._names = names
        self._arrays = None
        self._difference, self._heat = QImage(), QImage()
        if not self._a.isNull() and self._a.size() == self._b.size():
            self._arrays = (pixels(self._a), pixels(self._b))
        self.setAccessibleDescription(f"{names[0]} and {names[1]}, {TITLES[self._mode]}")
        self.update()

    def show_given(self, given: QImage | None) -> None:
        """The smaller picture that both were made from, beside them; None: there is none."""
        self._given = given or QImage()
        self.update()

    def numbers(self) -> tuple[float, int] | None:
        """PSNR in dB between A and B, and the largest difference of a colour (0 to 255)."""
        if self._arrays is None:
            return None
        return psnr(*self._arrays), int(difference(*self._arrays).max())

    def set_mode(self, mode: Mode) -> None:
        self._mode = mode
        self._blink.start() if mode == "blink" and self.isVisible() else self._blink.stop()
        if mode in {"side", "wipe", "difference", "heat"} and self._flip:
            self._set_flip(on=False)
        self.update()

    def set_gain(self, gain: int) -> None:
        """Times that differences are amplified."""
        self._gain = gain
        self._difference, self._heat = QImage(), QImage()
        self.update()

    def set_labels(self, *, on: bool) -> None:
        self._labels = on
        self.update()

    def set_black(self, *, on: bool) -> None:
        """Pictures sit on black, or on neutral grey."""
        self._black = on
        self.update()

    def flip(self) -> None:
        """Show the other picture, or exchange the sides."""
        self._set_flip(on=not self._flip)

    def cycle_zoom(self) -> None:
        """Fit, 100 %, 200 %, fit."""
        following = [zoom for zoom in ZOOMS if zoom > self._zoom]
        self.set_zoom(following[0] if following else 0.0)

    def set_zoom(self, zoom: float) -> None:
        self._zoom = zoom
        if zoom == 0:
            self._centre = QPointF(0.5, 0.5)
        self.zoomed.emit(zoom)
        self.update()

    # -- geometry -------------------------------------------------------------------------------

    def sizeHint(self) -> QSize:
        return QSize(640, 420)

    def _panes(self) -> list[QRect]:
        area = self.rect().adjusted(2, 2, -2, -2)
        if self._mode != "side":
            return [area]
        many = 2 if self._given.isNull() else 3
        wide = (area.width() - GAP * (many - 1)) // many
        lefts = [area.left() + place * (wide + GAP) for place in range(many)]
        widths = [*[wide] * (many - 1), area.right() + 1 - lefts[-1]]
        return [
            QRect(left, area.top(), width, area.height()) for left, width in zip(lefts, widths, strict=True)
        ]

    def _size(self) -> QSize:
        return self._a.size() if not self._a.isNull() else self._b.size()

    def scale(self) -> float:
        """Logical pixels of the screen per pixel of the picture."""
        size = self._size()
        if size.isEmpty():
            return 1.0
        if self._zoom:
            return self._zoom / self.devicePixelRatioF()
        pane = self._panes()[0]
        fit = min(pane.width() / size.width(), pane.height() / size.height())
        return float(int(fit)) if fit >= 2 else fit

    def _picture_rect(self, pane: QRect) -> QRectF:
        size, scale = self._size(), self.scale()
        width, height = size.width() * scale, size.height() * scale
        centre = QPointF(pane.center()) + QPointF(0.5, 0.5)
        left = centre.x() - self._centre.x() * width
        top = centre.y() - self._centre.y() * height
        return QRectF(round(left), round(top), width, height)

    def pixel_at(self, at: QPointF) -> QPoint | None:
        """The picture's pixel under a place of this widget."""
        for pane in self._panes():
            if pane.contains(at.toPoint()):
                rect = self._picture_rect(pane)
                if rect.contains(at):
                    scale = self.scale()
                    return QPoint(int((at.x() - rect.x()) / scale), int((at.y() - rect.y()) / scale))
        return None

    def read_out(self, pixel: QPoint) -> str:
        """Colours of A, B and their difference at a pixel."""
        size = self._size()
        if not (0 <= pixel.x() < size.width() and 0 <= pixel.y() < size.height()):
            return ""
        head = f"x {pixel.x()}  y {pixel.y()}"
        if self._arrays is None:
            return head
        a, b = (array[pixel.y(), pixel.x()].astype(int) for array in self._arrays)
        words = [
            f"{name} {c[0]:3d} {c[1]:3d} {c[2]:3d}" for name, c in (("A", a), ("B", b), ("Δ", abs(a - b)))
        ]
        return "   ".join([head, *words])

    # -- painting -------------------------------------------------------------------------------

    def paintEvent(self, _: QPaintEvent) -> None:
        painter = QPainter(self)
        ground = QColor(Qt.GlobalColor.black) if self._black else QColor(GREY)
        painter.fillRect(self.rect(), ground)
        if self._size().isEmpty():
            painter.setPen(QColor("#FFFFFF"))
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, "No pictures yet")
        else:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, on=self.scale() < 1)
            self._paint_mode(painter)
        if self.hasFocus():
            painter.setClipping(False)
            painter.setPen(QPen(self._theme.colour("accent"), 4))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self.rect())
        painter.end()

    def _paint_mode(self, painter: QPainter) -> None:
        panes = self._panes()
        first, second = (self._b, self._a) if self._flip else (self._a, self._b)
        one, two = (self._names[1], self._names[0]) if self._flip else self._names
        if self._mode == "side":
            if not self._given.isNull():
                size = self._given.size()
                self._paint(painter, panes[0], self._given, f"Given {size.width()}×{size.height()}")
            self._paint(painter, panes[-2], first, one)
            self._paint(painter, panes[-1], second, two)
        elif self._mode == "wipe":
            pane = panes[0]
            at = self._wipe_x(pane)
            self._paint(
                painter, pane, first, "", QRect(pane.left(), pane.top(), at - pane.left(), pane.height())
            )
            self._paint(
                painter, pane, second, "", QRect(at, pane.top(), pane.right() - at + 1, pane.height())
            )
            painter.setClipping(False)
            painter.setPen(QPen(QColor("#FFFFFF"), 2))
            painter.drawLine(at, pane.top(), at, pane.bottom())
            painter.setPen(QPen(QColor("#000000"), 1))
            painter.drawLine(at + 1, pane.top(), at + 1, pane.bottom())
            self._tag(painter, pane, one, Qt.AlignmentFlag.AlignLeft)
            self._tag(painter, pane, two, Qt.AlignmentFlag.AlignRight)
        elif self._mode in {"swap", "blink"}:
            self._paint(painter, panes[0], first, one)
        elif self._mode == "difference":
            self._paint(painter, panes[0], self._difference_image(), f"Difference ×{self._gain}")
        else:
            self._paint(painter, panes[0], self._heat_image(), f"Heat map ×{self._gain}")

    def _paint(
        self, painter: QPainter, pane: QRect, picture: QImage, name: str, clip: QRect | None = None
    ) -> None:
        painter.setClipRect(clip or pane)
        if picture.isNull():
            painter.setPen(QColor("#FFFFFF"))
            missing = "No picture" if self._arrays is not None else "Pictures of two sizes have no difference"
            words = missing if self._mode in {"difference", "heat"} else "No picture"
            painter.drawText(pane, Qt.AlignmentFlag.AlignCenter, words)
        else:
            painter.drawImage(self._picture_rect(pane), picture, QRectF(picture.rect()))
        painter.setClipping(False)
        if name:
            self._tag(painter, pane, name, Qt.AlignmentFlag.AlignLeft)

    def _tag(self, painter: QPainter, pane: QRect, name: str, side: Qt.AlignmentFlag) -> None:
        if not self._labels:
            return
        painter.setFont(self._theme.font(SMALL, bold=True))
        metrics = painter.fontMetrics()
        words = metrics.elidedText(name, Qt.TextElideMode.ElideRight, max(40, pane.width() // 2 - 24))
        width, height = metrics.horizontalAdvance(words) + 14, metrics.height() + 6
        left = pane.left() + 6 if side == Qt.AlignmentFlag.AlignLeft else pane.right() - 6 - width
        box = QRectF(left, pane.top() + 6, width, height)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(0, 0, 0, 190))
        painter.drawRoundedRect(box, 4, 4)
        painter.setPen(QColor("#FFFFFF"))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, words)

    def _wipe_x(self, pane: QRect) -> int:
        rect = self._picture_rect(pane)
        left, right = max(rect.left(), pane.left()), min(rect.right(), pane.right())
        return round(left + (right - left) * self._wipe)

    def _difference_image(self) -> QImage:
        if self._difference.isNull() and self._arrays is not None:
            self._difference = difference_image(*self._arrays, self._gain)
        return self._difference

    def _heat_image(self) -> QImage:
        if self._heat.isNull() and self._arrays is not None:
            self._heat = heat_image(*self._arrays, self._gain)
        return self._heat

    # -- mouse and keys -------------------------------------------------------------------------

    def _set_flip(self, *, on: bool) -> None:
        self._flip = on
        self.flipped.emit(on)
        self.update()

    def _on_blink(self) -> None:
        self._set_flip(on=not self._flip)

    def wheelEvent(self, event: QWheelEvent) -> None:
        turns = event.angleDelta().y() / 120
        if not turns or self._size().isEmpty():
            return
        old = self.scale()
        new = min(64.0, max(0.05, old * 1.25**turns))
        pane = next((p for p in self._panes() if p.contains(event.position().toPoint())), self._panes()[0])
        rect = self._picture_rect(pane)
        offset = event.position() - QPointF(pane.center())
        point = QPointF(
            (event.position().x() - rect.x()) / rect.width(),
            (event.position().y() - rect.y()) / rect.height(),
        )
        self._zoom = new * self.devicePixelRatioF()
        size = self._size()
        self._centre = QPointF(
            point.x() - offset.x() / (size.width() * new), point.y() - offset.y() / (size.height() * new)
        )
        self.zoomed.emit(self._zoom)
        self.update()
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            return
        if self._mode == "wipe" and abs(event.position().x() - self._wipe_x(self._panes()[0])) < 12:
            self._wiping = True
        else:
            self._drag = event.position()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        at = event.position()
        if self._wiping:
            self._move_wipe(at.x())
        elif self._drag is not None:
            moved = at - self._drag
            self._drag = at
            size, scale = self._size(), self.scale()
            if not size.isEmpty():
                self._centre -= QPointF(
                    moved.x() / (size.width() * scale), moved.y() / (size.height() * scale)
                )
            self.update()
        over = self._mode == "wipe" and abs(at.x() - self._wipe_x(self._panes()[0])) < 12
        self.setCursor(Qt.CursorShape.SplitHCursor if over else Qt.CursorShape.CrossCursor)
        pixel = self.pixel_at(at)
        self.pointed.emit("" if pixel is None else self.read_out(pixel))

    def mouseReleaseEvent(self, _: QMouseEvent) -> None:
        self._drag, self._wiping = None, False

    def mouseDoubleClickEvent(self, _: QMouseEvent) -> None:
        self.cycle_zoom()

    def leaveEvent(self, event: QEvent) -> None:
        self.pointed.emit("")
        super().leaveEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        arrows = {
            Qt.Key.Key_Left: QPointF(-1, 0),
            Qt.Key.Key_Right: QPointF(1, 0),
            Qt.Key.Key_Up: QPointF(0, -1),
            Qt.Key.Key_Down: QPointF(0, 1),
        }
        way = arrows.get(Qt.Key(event.key()))
        if way is None:
            super().keyPressEvent(event)
        elif self._mode == "wipe" and way.x():
            self._wipe = min(1.0, max(0.0, self._wipe + 0.02 * way.x()))
            self.update()
        else:
            self._centre += way * 0.05
            self.update()

    def _move_wipe(self, x: float) -> None:
        pane = self._panes()[0]
        rect = self._picture_rect(pane)
        left, right = max(rect.left(), pane.left()), min(rect.right(), pane.right())
        self._wipe = min(1.0, max(0.0, (x - left) / max(1.0, right - left)))
        self.update()

    def hideEvent(self, event: QHideEvent) -> None:
        self._blink.stop()
        super().hideEvent(event)

    def showEvent(self, event: QShowEvent) -> None:
        if self._mode == "blink":
            self._blink.start()
        super().showEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.update()
