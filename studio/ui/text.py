"""Numbers as people read them: three significant digits, units always."""

from __future__ import annotations

import math
from collections.abc import Iterable

from studio.record.described import Metric

THIN = "\u2009"


def number(value: float, digits: int = 3) -> str:
    """`digits` significant digits without exponent, for example `0.0123`, `4.56`, `1,230`."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(places, 6)}f}".replace("-", "−")


def seconds(value: float) -> str:
    """A latency: `38.2 ms`, `1.24 s`, `2:05 min`."""
    if value < 1e-3:
        return f"{number(value * 1e6)}{THIN}µs"
    if value < 1:
        return f"{number(value * 1e3)}{THIN}ms"
    if value < 100:
        return f"{number(value)}{THIN}s"
    return f"{clock(value)}{THIN}min"


def percent(share: float) -> str:
    """A share of a whole: `30 %`."""
    return f"{share * 100:.0f}{THIN}%"


def tick(value: float) -> str:
    """A latency on an axis, without needless zeros: `50 ms`, `1.5 s`."""
    return f"{value:g}{THIN}s" if value >= 1 else f"{value * 1e3:g}{THIN}ms"


def span(low: str, high: str) -> str:
    """`397 – 413 ms`: the unit once where both have the same."""
    first, _, unit = low.partition(THIN)
    same = high.partition(THIN)[2] == unit
    return f"{first if same else low} – {high}"


def clock(value: float) -> str:
    """Minutes and seconds, `1:40`, or hours, `2:05:00`."""
    whole = max(0, round(value))
    minutes, rest = divmod(whole, 60)
    if minutes >= 60:
        return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}"


def time_range(low: float | None, high: float | None) -> str:
    """`1:40 – 2:20 left`, or nothing when it is not known yet."""
    if low is None or high is None:
        return ""
    if clock(low) == clock(high):
        return f"{clock(high)} left"
    return f"{clock(low)} – {clock(high)} left"


def size(count: float) -> str:
    """Bytes in binary units: `6.10 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{number(count)}{THIN}{unit}" if unit != "B" else f"{count:.0f}{THIN}B"
        count /= 1024
    return ""


def count(value: int) -> str:
    """Parameters: `13.9 M`."""
    for limit, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= limit:
            return f"{number(value / limit)}{THIN}{unit}"
    return str(value)


def ratio(value: float) -> str:
    """A speed-up: `5.20×`."""
    return f"{number(value)}×"


def scaled(metric: Metric) -> tuple[float, str]:
    """Factor and unit to show a run's loss with: shares are shown as points (hundredths)."""
    unit = metric.unit.strip()
    if unit.lower() in {"share", "fraction", "1"} or (not unit and "adherence" in metric.name):
        return 100.0, "points"
    return 1.0, unit


def loss(value: float, metric: Metric | None) -> str:
    """A quality loss in the run's unit; never `-0`."""
    factor, unit = scaled(metric) if metric else (1.0, "")
    shown = value * factor
    body = "0" if abs(shown) < 5e-5 else number(shown)
    return f"{body}{THIN}{unit}" if unit else body


def difference(metric: str, value: float) -> str:
    """How far apart two qualities are, without a sign: `1.52 points` for shares."""
    if metric == "adherence":
        return f"{number(abs(value) * 100)} points"
    return number(abs(value))


def metric(name: str, value: float) -> str:
    """A picture metric by its name with its unit."""
    if name == "psnr":
        return f"{number(value)}{THIN}dB" if math.isfinite(value) else "identical"
    if name in ("adherence", "adherence_a", "adherence_b"):
        return f"{number(value * 100)}{THIN}%"
    if name in ("psnr_worst", "consistency", "consistency_a", "consistency_b"):
        return f"{number(value)}{THIN}dB"
    return number(value)


PARITY = "Component parity"
"""Title of how near the engines' outputs are to eager's, component by component."""
METRIC_TITLES = {
    "psnr": "PSNR",
    "ssim": "SSIM",
    "haarpsi": "HaarPSI",
    "lpips": "LPIPS",
    "adherence": "Adherence",
    "psnr_worst": "worst frame",
    "change": "change error",
    "flicker": "flicker",
    "consistency": "made small again",
    "consistency_a": "made small again A",
    "consistency_b": "made small again B",
    "clip": "CLIP score",
    "clip_a": "CLIP score A",
    "clip_b": "CLIP score B",
    "dino": "DINO distance",
    "kid": "KID",
    "cmmd": "CMMD",
}


def step(technique: str, parameters: Iterable[tuple[str, object]]) -> str:
    """A technique as a chip: `feature-cache interval 3`."""
    return " ".join([technique, *(f"{name} {value}" for name, value in parameters)])
