"""The report's plots as SVG, drawn from plain numbers; colours are the page's own variables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 920, 460
LEFT, RIGHT, TOP, BOTTOM = 74, 24, 24, 58


@dataclass(frozen=True, slots=True)
class Point:
    """A candidate in the plot; seconds per image, loss, MiB."""

    id: str
    title: str
    seconds: tuple[float, float, float]
    """Value, low, high."""
    loss: tuple[float, float, float]
    memory: float | None
    kind: str
    """`baseline`, `front`, `dominated` or `quarantined`."""
    label: str = ""
    """Written beside the point."""
    elsewhere: str = ""
    """What its engines were built for and verified on, where the two differ."""


def pareto(points: Sequence[Point], loss_title: str) -> str:
    """Latency (logarithmic) against loss, with 95 % bars, front and baseline."""
    if not points:
        return '<p class="muted">No candidate was measured.</p>'
    x_low = min(point.seconds[0] for point in points) / 1.35
    x_high = max(point.seconds[0] for point in points) * 1.25
    values = [point.loss[0] for point in points]
    bars = [bound for point in points if point.kind in ("front", "baseline") for bound in point.loss[1:]]
    span = max(max(values) - min(values), 1e-6)
    y_low = max(min([0.0, *values, *bars]), min(0.0, *values) - 0.3 * span) - 0.04 * span
    y_high = min(max([*values, *bars]), max(values) + 0.3 * span) + 0.08 * span

    def x(seconds: float) -> float:
        seconds = min(max(seconds, x_low), x_high)  # a bar that leaves the plot ends at its edge
        share = (math.log(seconds) - math.log(x_low)) / (math.log(x_high) - math.log(x_low))
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(loss: float) -> float:
        share = (min(max(loss, y_low), y_high) - y_low) / (y_high - y_low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [_open(HEIGHT, f"Latency against {loss_title}: {len(points)} candidates")]
    bottom = HEIGHT - BOTTOM
    for tick in _log_ticks(x_low, x_high):
        parts.append(f'<line class="grid" x1="{x(tick):.1f}" y1="{TOP}" x2="{x(tick):.1f}" y2="{bottom}"/>')
        parts.append(
            f'<text class="tick" x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{time(tick)}</text>'
        )
    for tick in _ticks(y_low, y_high):
        css = "zero" if tick == 0 else "grid"
        parts.append(
            f'<line class="{css}" x1="{LEFT}" y1="{y(tick):.1f}" x2="{WIDTH - RIGHT}" y2="{y(tick):.1f}"/>'
        )
        parts.append(
            f'<text class="tick" x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="axis" x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">'
        "← faster    seconds per image, whole pipeline, warm (logarithmic)</text>"
        f'<text class="axis" transform="translate(18 {(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(loss_title)} (lower is better)</text>"
    )
    front = sorted((point for point in points if point.kind == "front"), key=lambda point: point.seconds[0])
    if front:
        path = f"M{x(front[0].seconds[0]):.1f} {TOP}V{y(front[0].loss[0]):.1f}"
        path += "".join(f"H{x(point.seconds[0]):.1f}V{y(point.loss[0]):.1f}" for point in front[1:])
        parts.append(f'<path class="front" fill="none" stroke="currentColor" d="{path}H{WIDTH - RIGHT}"/>')
    order = {"dominated": 0, "quarantined": 1, "front": 2, "baseline": 3}
    parts.extend(
        _mark(point, [x(seconds) for seconds in point.seconds], [y(loss) for loss in point.loss])
        for point in sorted(points, key=lambda point: order.get(point.kind, 0))
    )
    parts.extend(_labels([(x(p.seconds[0]), y(p.loss[0]), p.label) for p in points if p.label]))
    return "".join([*parts, "</svg>"])


def steps(values: Sequence[tuple[int, float]], x_title: str, y_title: str) -> str:
    """A step line of (count, value), for the growth of the hypervolume."""
    if len(values) < 2:
        return ""
    height, bottom = 190, 150
    x_low, x_high = values[0][0], max(values[-1][0], values[0][0] + 1)
    y_high = max(value for _, value in values) * 1.08 or 1.0

    def x(count: float) -> float:
        return LEFT + (count - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return bottom - value / y_high * (bottom - 14)

    parts = [_open(height, f"{y_title} by {x_title}")]
    for tick in _ticks(0, y_high, 3):
        parts.append(
            f'<line class="grid" x1="{LEFT}" y1="{y(tick):.1f}" x2="{WIDTH - RIGHT}" y2="{y(tick):.1f}"/>'
        )
        parts.append(
            f'<text class="tick" x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.3g}</text>'
        )
    parts.extend(
        f'<text class="tick" x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>'
        for tick in _ticks(x_low, x_high, 8)
        if tick == int(tick)
    )
    path = f"M{x(values[0][0]):.1f} {y(values[0][1]):.1f}"
    path += "".join(f"H{x(count):.1f}V{y(value):.1f}" for count, value in values[1:])
    parts.append(f'<path class="front" fill="none" stroke="currentColor" d="{path}"/>')
    parts.append(
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{height - 4}" text-anchor="middle">'
        f"{escape(x_title)}</text>"
    )
    return "".join([*parts, "</svg>"])


def time(seconds: float) -> str:
    """`340 ms`, `1.2 s`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s"


def _open(height: int, name: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(name, quote=True)}">'


def _mark(point: Point, xs: Sequence[float], ys: Sequence[float]) -> str:
    x, y = xs[0], ys[0]
    tip = f"{point.id} {point.title}: {time(point.seconds[0])} per image, loss {point.loss[0]:.3g}"
    if point.memory:
        tip += f", {point.memory:.0f} MiB"
    around = ""
    if point.elsewhere:
        tip += f"; {point.elsewhere}"
        around = (
            f'<polygon class="elsewhere" points="{x:.1f},{y - 15:.1f} {x + 15:.1f},{y:.1f} '
            f'{x:.1f},{y + 15:.1f} {x - 15:.1f},{y:.1f}"/>'
        )
    bars = ""
    if point.kind in ("front", "baseline"):
        path = f"M{xs[1]:.1f} {y:.1f}H{xs[2]:.1f}M{x:.1f} {ys[1]:.1f}V{ys[2]:.1f}"
        bars = f'<path class="bar {point.kind}" d="{path}"/>'
    radius = 5.0 if not point.memory else min(5 + (point.memory / 400) ** 0.5 * 2, 13)
    if point.kind == "baseline":
        corners = []
        for corner in range(10):
            angle, length = corner * math.pi / 5, 11 if corner % 2 == 0 else 4.6
            corners.append(f"{x + length * math.sin(angle):.1f},{y - length * math.cos(angle):.1f}")
        shape = f'<polygon class="mark baseline" points="{" ".join(corners)}"/>'
    elif point.kind == "quarantined":
        shape = (
            f'<polygon class="mark quarantined" points="{x:.1f},{y - 8:.1f} {x + 8:.1f},{y + 6:.1f} '
            f'{x - 8:.1f},{y + 6:.1f}"/>'
        )
    else:
        shape = f'<circle class="mark {point.kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
    return f"<g><title>{escape(tip)}</title>{bars}{around}{shape}</g>"


def _labels(wanted: Sequence[tuple[float, float, str]]) -> list[str]:
    """Beside their points, moved down where they would cover each other."""
    placed: list[tuple[float, float, float]] = []
    made = []
    for x, y, text in sorted(wanted, key=lambda one: one[1]):
        width = 7.2 * len(text)
        left = x + 14 if x + 14 + width < WIDTH - RIGHT else x - 14 - width
        line = max(y - 8, TOP + 10)
        while any(
            abs(line - other) < 16 and left < end and left + width > start for start, end, other in placed
        ):
            line += 16
        placed.append((left, left + width, line))
        made.append(f'<text class="label" x="{left:.1f}" y="{line:.1f}">{escape(text)}</text>')
    return made


def _log_ticks(low: float, high: float) -> list[float]:
    factors = (1, 2, 5) if high / low > 3 else (1, 1.5, 2, 3, 4, 5, 7)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    return [tick for tick in every if low <= tick <= high]


def _ticks(low: float, high: float, about: int = 6) -> list[float]:
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    first = math.ceil(low / step)
    return [round(index * step, 12) + 0.0 for index in range(first, math.floor(high / step) + 1)]
