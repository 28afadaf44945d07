"""Draw a scene of the Tiny Scenes grammar.

Shapes are given in fractions of the picture's side and drawn with 4x
supersampling, so one scene can be drawn at any size: 64 px to train the
diffusion model, 256 px to train super-resolution.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from engines.scenes.grammar import Group, Scene

RGB = tuple[int, int, int]

_PAINT: Final[dict[str, RGB]] = {
    "red": (214, 40, 40), "yellow": (250, 208, 30), "green": (30, 150, 60),
    "blue": (35, 85, 215), "purple": (140, 50, 170), "white": (246, 246, 246),
}  # fmt: skip
_SKY: Final[dict[str, tuple[RGB, RGB]]] = {
    "day": ((90, 170, 240), (190, 225, 250)),
    "sunset": ((120, 60, 130), (250, 150, 70)),
    "night": ((10, 14, 45), (38, 46, 100)),
}
_GROUND: Final[dict[str, RGB]] = {
    "grass": (105, 190, 75), "sand": (226, 194, 128), "snow": (232, 238, 246), "water": (40, 120, 160),
}  # fmt: skip
_LIGHT: Final = {"day": 1.0, "sunset": 0.88, "night": 0.68}
_CENTRE: Final = {"left": 0.24, "middle": 0.5, "right": 0.76}
_HORIZON: Final = 0.52


def _mix(a: RGB, b: RGB, share: float) -> RGB:
    mixed = [round(x + (y - x) * share) for x, y in zip(a, b, strict=True)]
    return (mixed[0], mixed[1], mixed[2])


class _Pen:
    """Draws in fractions of the side, in one style and one light."""

    def __init__(self, image: Image.Image, style: str, light: float) -> None:
        self.draw = ImageDraw.Draw(image)
        self.side = image.width
        self.style = style
        self.light = light

    def paint(self, colour: RGB) -> RGB:
        lit = _mix((12, 12, 40), colour, self.light)
        return _mix(lit, (255, 250, 240), 0.35) if self.style == "pastel" else lit

    def outline(self, colour: RGB) -> tuple[RGB, int]:
        """Ink outlines are black and thick; the others keep white on snow visible."""
        if self.style == "ink":
            return (15, 15, 20), max(1, round(self.side * 0.024))
        return self.paint(_mix(colour, (30, 25, 45), 0.4)), max(1, round(self.side * 0.012))

    def polygon(self, points: list[tuple[float, float]], colour: RGB) -> None:
        scaled = [(x * self.side, y * self.side) for x, y in points]
        edge, width = self.outline(colour)
        self.draw.polygon(scaled, fill=self.paint(colour))
        self.draw.line([*scaled, scaled[0], scaled[1]], fill=edge, width=width, joint="curve")

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: RGB) -> None:
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)

    def disc(self, x: float, y: float, r: float, colour: RGB, *, plain: bool = False) -> None:
        edge, width = (None, 0) if plain else self.outline(colour)
        bounds = [(x - r) * self.side, (y - r) * self.side, (x + r) * self.side, (y + r) * self.side]
        self.draw.ellipse(bounds, fill=self.paint(colour), outline=edge, width=width)


def _house(pen: _Pen, x: float, y: float, s: float, c: RGB) -> None:
    pen.box(x - 0.38 * s, y - 0.55 * s, x + 0.38 * s, y, c)
    pen.polygon(
        [(x - 0.52 * s, y - 0.52 * s), (x, y - s), (x + 0.52 * s, y - 0.52 * s)], _mix(c, (60, 30, 20), 0.45)
    )
    pen.box(x - 0.11 * s, y - 0.32 * s, x + 0.11 * s, y, _mix(c, (30, 20, 15), 0.75))


def _tree(pen: _Pen, x: float, y: float, s: float, c: RGB) -> None:
    pen.box(x - 0.09 * s, y - 0.45 * s, x + 0.09 * s, y, (110, 70, 35))
    pen.disc(x, y - 0.66 * s, 0.36 * s, c)


def _car(pen: _Pen, x: float, y: float, s: float, c: RGB) -> None:
    pen.polygon(
        [
            (x - 0.3 * s, y - 0.4 * s),
            (x - 0.18 * s, y - 0.64 * s),
            (x + 0.2 * s, y - 0.64 * s),
            (x + 0.34 * s, y - 0.4 * s),
        ],
        _mix(c, (220, 240, 255), 0.6),
    )
    pen.box(x - 0.52 * s, y - 0.42 * s, x + 0.52 * s, y - 0.12 * s, c)
    for side in (-0.28, 0.28):
        pen.disc(x + side * s, y - 0.12 * s, 0.13 * s, (25, 25, 28))


def _ball(pen: _Pen, x: float, y: float, s: float, c: RGB) -> None:
    pen.disc(x, y - 0.4 * s, 0.4 * s, c)
    pen.disc(x - 0.13 * s, y - 0.54 * s, 0.1 * s, _mix(c, (255, 255, 255), 0.7), plain=True)


def _tent(pen: _Pen, x: float, y: float, s: float, c: RGB) -> None:
    pen.polygon([(x - 0.55 * s, y), (x, y - 0.75 * s), (x + 0.55 * s, y)], c)
    pen.polygon([(x - 0.17 * s, y), (x, y - 0.5 * s), (x + 0.17 * s, y)], _mix(c, (20, 15, 10), 0.75))


def _tower(pen: _Pen, x: float, y: float, s: float, c: RGB) -> None:
    pen.box(x - 0.17 * s, y - 1.1 * s, x + 0.17 * s, y, c)
    pen.box(x - 0.27 * s, y - 1.3 * s, x + 0.27 * s, y - 1.05 * s, _mix(c, (40, 40, 50), 0.4))


_SHAPES: Final = {"house": _house, "tree": _tree, "car": _car, "ball": _ball, "tent": _tent, "tower": _tower}


def _sky(scene: Scene, side: int, rng: np.random.Generator) -> Image.Image:
    top, bottom = _SKY[scene.time]
    if scene.weather in ("cloudy", "rainy", "snowy"):
        grey = (150, 155, 165) if scene.time != "night" else (48, 52, 70)
        share = {"cloudy": 0.25, "rainy": 0.6, "snowy": 0.45}[scene.weather]
        top, bottom = _mix(top, grey, share), _mix(bottom, grey, share)
    if scene.style == "pastel":
        top, bottom = _mix(top, (255, 250, 240), 0.4), _mix(bottom, (255, 250, 240), 0.4)
    ramp = np.linspace(0, 1, side)[:, None, None] / _HORIZON
    rows = np.array(top) + (np.array(bottom) - np.array(top)) * np.clip(ramp, 0, 1)
    image = Image.fromarray(np.broadcast_to(rows, (side, side, 3)).round().astype(np.uint8).copy())
    pen = _Pen(image, scene.style, 1.0)
    x, y = rng.uniform(0.12, 0.88), rng.uniform(0.1, 0.2)
    if scene.weather == "clear":
        if scene.time == "day":
            pen.disc(x, y, 0.075, (255, 235, 90))
        elif scene.time == "sunset":
            pen.disc(x, _HORIZON - 0.05, 0.1, (255, 90, 50))
        else:
            pen.disc(x, y, 0.065, (240, 240, 220))
    if scene.weather == "cloudy":
        shade = (250, 250, 252) if scene.time != "night" else (125, 130, 150)
        for start in (rng.uniform(0.08, 0.2), rng.uniform(0.5, 0.75)):
            level = rng.uniform(0.1, 0.22)
            for dx, dy, r in ((0, 0, 0.065), (0.09, -0.03, 0.085), (0.18, 0, 0.065)):
                pen.disc(start + dx, level + dy, r, shade, plain=True)
    return image


def _ground(image: Image.Image, scene: Scene, rng: np.random.Generator) -> None:
    pen = _Pen(image, scene.style, _LIGHT[scene.time])
    colour = _GROUND[scene.terrain]
    if scene.terrain == "water":
        pen.box(-0.1, _HORIZON, 1.1, 1.1, colour)
        for _ in range(7):
            x, y = rng.uniform(0, 0.85), rng.uniform(_HORIZON + 0.05, 0.97)
            width = rng.uniform(0.1, 0.22)
            pen.draw.rectangle(
                [x * pen.side, y * pen.side, (x + width) * pen.side, (y + 0.018) * pen.side],
                fill=pen.paint((130, 200, 225)),
            )
        return
    bend = rng.uniform(-0.05, 0.05)
    hill = [(i / 12, _HORIZON + bend * float(np.sin(i / 12 * np.pi))) for i in range(-1, 14)]
    pen.polygon([*hill, (1.1, 1.1), (-0.1, 1.1)], colour)
    speck = {"grass": (60, 145, 45), "sand": (196, 158, 95), "snow": (200, 214, 232)}[scene.terrain]
    for _ in range(10):
        x, y = rng.uniform(0, 1), rng.uniform(_HORIZON + 0.08, 0.98)
        if scene.terrain == "grass":
            pen.draw.line(
                [x * pen.side, y * pen.side, x * pen.side, (y - 0.04) * pen.side],
                fill=pen.paint(speck),
                width=max(1, pen.side // 50),
            )
        else:
            pen.disc(x, y, 0.016, speck, plain=True)


def _positions(group: Group, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """(x, y of the foot, size) of each object of a group, back to front."""
    x = _CENTRE[group.place] + rng.uniform(-0.025, 0.025)
    y = 0.8 + rng.uniform(-0.03, 0.04)
    if group.count == 1:
        return [(x, y, rng.uniform(0.37, 0.41))]
    if group.count == 2:
        size = rng.uniform(0.235, 0.25)
        gap = 0.125
        return [(x - gap, y, size), (x + gap, y + 0.02, size)]
    size = rng.uniform(0.21, 0.23)
    return [(x, y - 0.13, size), (x - 0.12, y + 0.08, size), (x + 0.12, y + 0.08, size)]


def _weather(image: Image.Image, scene: Scene, rng: np.random.Generator) -> None:
    draw, side = ImageDraw.Draw(image), image.width
    if scene.weather == "rainy":
        colour = (200, 215, 240) if scene.time == "night" else (70, 95, 150)
        for _ in range(18):
            x, y = rng.uniform(-0.05, 1), rng.uniform(-0.05, 0.9)
            draw.line(
                [x * side, y * side, (x - 0.035) * side, (y + 0.11) * side],
                fill=colour,
                width=max(1, round(side * 0.014)),
            )
    elif scene.weather == "snowy":
        for _ in range(24):
            x, y, r = rng.uniform(0, 1), rng.uniform(0, 0.95), rng.uniform(0.012, 0.02)
            draw.ellipse(
                [(x - r) * side, (y - r) * side, (x + r) * side, (y + r) * side], fill=(255, 255, 255)
            )


def draw(scene: Scene, rng: np.random.Generator, size: int = 64) -> NDArray[np.uint8]:
    """Draw a scene as uint8 RGB of shape (size, size, 3).

    `rng` decides what the caption leaves open: jitter of places and sizes,
    clouds, flakes.  The same state gives the same picture at every size.
    """
    side = size * 4 if size < 128 else size * 2
    image = _sky(scene, side, rng)
    _ground(image, scene, rng)
    pen = _Pen(image, scene.style, _LIGHT[scene.time])
    for group in scene.groups:
        for x, y, s in _positions(group, rng):
            _SHAPES[group.kind](pen, x, y, s, _PAINT[group.colour])
    _weather(image, scene, rng)
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))
