from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage, QWheelEvent
from pytestqt.qtbot import QtBot

from studio.ui.pixels import difference, heat_colours, pixels, psnr
from studio.ui.theme import Theme
from studio.ui.widgets.canvas import BLINK, MODES, Canvas
from tests.studio.ui.window_recording import scene


def image(drift: float) -> QImage:
    picture = scene(2, drift)
    return QImage(picture.tobytes(), 64, 64, 192, QImage.Format.Format_RGB888).copy()


@pytest.fixture
def canvas(qtbot: QtBot) -> Canvas:
    made = Canvas(Theme("dark"))
    made.resize(804, 404)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitExposed(made)
    made.show_pair(image(0.0), image(0.4))
    return made


def test_pixels_are_read_without_change() -> None:
    assert np.array_equal(pixels(image(0.4)), scene(2, 0.4))


def test_odd_widths_are_read_without_change() -> None:
    picture = scene(2, 0.4)[:, :61].copy()
    made = QImage(picture.tobytes(), 61, 64, 183, QImage.Format.Format_RGB888).copy()
    assert np.array_equal(pixels(made), picture)


def test_psnr_and_difference_are_those_of_the_arrays() -> None:
    a = np.full((4, 4, 3), 10, np.uint8)
    b = np.full((4, 4, 3), 13, np.uint8)
    assert difference(b, a).max() == difference(a, b).max() == 3
    assert psnr(a, b) == pytest.approx(10 * np.log10(255**2 / 9))
    assert psnr(a, a) == float("inf")


def test_the_same_place_of_both_sides_is_the_same_pixel(canvas: Canvas) -> None:
    half = (804 - 4 - 2) // 2 + 2
    left = canvas.pixel_at(QPointF(2 + half / 2 - 30, 150))
    right = canvas.pixel_at(QPointF(2 + half / 2 - 30 + half, 150))
    assert left is not None
    assert right is not None
    assert abs(left.x() - right.x()) <= 1
    assert left.y() == right.y()


def test_the_read_out_names_both_colours_and_their_difference(canvas: Canvas) -> None:
    a, b = (int(scene(2, drift)[7, 5, 0]) for drift in (0.0, 0.4))
    words = canvas.read_out(QPoint(5, 7))
    assert words.startswith("x 5  y 7")
    assert f"A {a:3d}" in words
    assert f"B {b:3d}" in words
    assert f"Δ {abs(a - b):3d}" in words


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_draws_something_of_its_own(qtbot: QtBot, canvas: Canvas, mode: str) -> None:
    shots = {}
    for one in MODES:
        canvas.set_mode(one)
        shots[one] = canvas.grab().toImage()
    same = [one for one in MODES if one != mode and shots[one] == shots[mode]]  # type: ignore[index]
    assert set(same) <= {"swap", "blink"}


def test_difference_shows_exactly_what_differs(canvas: Canvas) -> None:
    canvas.set_mode("difference")
    canvas.set_labels(on=False)
    shot = canvas.grab().toImage()
    at = canvas.pixel_at(QPointF(400, 200))
    assert at is not None
    expected = difference(scene(2, 0.0), scene(2, 0.4))[at.y(), at.x()]
    found = QColor(shot.pixel(400, 200))
    assert (found.red(), found.green(), found.blue()) == tuple(int(part) for part in expected)


def test_the_wipe_moves_by_keys_and_shows_a_at_its_left(qtbot: QtBot, canvas: Canvas) -> None:
    canvas.set_mode("wipe")
    canvas.setFocus()
    before = canvas.wipe
    qtbot.keyClick(canvas, Qt.Key.Key_Right)
    assert canvas.wipe > before
    shot = canvas.grab().toImage()
    x = 402 - 40
    at = canvas.pixel_at(QPointF(x, 300))
    assert at is not None
    assert QColor(shot.pixel(x, 300)).red() == int(scene(2, 0.0)[at.y(), at.x(), 0])


def test_the_wipe_follows_the_mouse(qtbot: QtBot, canvas: Canvas) -> None:
    canvas.set_mode("wipe")
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=QPoint(402, 200))
    qtbot.mouseMove(canvas, QPoint(322, 200))
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=QPoint(322, 200))
    assert canvas.wipe < 0.45


def test_zoom_goes_through_fit_100_and_200_percent(canvas: Canvas) -> None:
    seen = []
    for _ in range(4):
        seen.append(canvas.zoom)
        canvas.cycle_zoom()
    assert seen == [0.0, 1.0, 2.0, 0.0]


def test_the_wheel_keeps_the_pixel_under_the_pointer(canvas: Canvas) -> None:
    at = QPointF(150, 170)
    before = canvas.pixel_at(at)
    event = QWheelEvent(
        at,
        canvas.mapToGlobal(at),
        QPoint(),
        QPoint(0, 240),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    canvas.wheelEvent(event)
    after = canvas.pixel_at(at)
    assert canvas.zoom > 0
    assert before is not None
    assert after is not None
    assert abs(before.x() - after.x()) <= 1
    assert abs(before.y() - after.y()) <= 1


def test_blinking_stays_under_three_flashes_a_second(qtbot: QtBot, canvas: Canvas) -> None:
    assert 1000 / (2 * BLINK) <= 3
    flips: list[bool] = []
    canvas.flipped.connect(flips.append)
    canvas.set_mode("blink")
    qtbot.waitUntil(lambda: len(flips) >= 2, timeout=5000)
    canvas.set_mode("side")
    assert not canvas.is_flipped


def test_pictures_of_two_sizes_are_shown_without_a_difference(canvas: Canvas) -> None:
    canvas.show_pair(image(0.0), image(0.0).scaled(32, 32))
    assert canvas.numbers() is None
    canvas.set_mode("heat")
    canvas.grab()


def test_the_heat_map_gets_brighter_all_the_way() -> None:
    colours = [QColor(colour & 0xFFFFFF) for colour in heat_colours()]
    light = [0.2126 * c.red() + 0.7152 * c.green() + 0.0722 * c.blue() for c in colours]
    assert light == sorted(light)
