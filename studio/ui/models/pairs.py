"""Pictures of two candidates over the same prompts and seeds, worst first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.ui import text
from studio.ui.models.run import RunModel


@dataclass(frozen=True, slots=True)
class Pair:
    """One prompt and seed with A's and B's picture and what was measured."""

    prompt: str
    seed: int
    a: Path
    b: Path
    metrics: Mapping[str, float] = field(default_factory=dict)
    frames: int = 0
    """Of clips; 0 for pictures.  `a` and `b` are the first ones."""
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Metrics by frame."""
    given: Path | None = None
    """The smaller picture that both were made from."""

    def at(self, frame: int) -> tuple[Path, Path]:
        """A's and B's picture of a frame."""
        if not self.frames:
            return self.a, self.b
        name = f"{min(frame, self.frames - 1):03d}.png"
        return self.a.with_name(name), self.b.with_name(name)

    def remark(self) -> str:
        """The first number that says how far apart the two are, with its unit."""
        for name in ("psnr", "haarpsi", "ssim", "lpips", "adherence"):
            if name in self.metrics:
                return text.metric(name, self.metrics[name])
        return ""

    def words(self) -> str:
        """All numbers in one line."""
        parts = []
        for name, value in self.metrics.items():
            title = text.METRIC_TITLES.get(name)
            if title is None and name.startswith("adherence_"):
                title, name = f"adherence {name[-1].upper()}", "adherence"
            parts.append(f"{title or name} {text.metric(name, value)}")
        return "   ".join(parts)


def badness(pair: Pair) -> float:
    """Larger is worse: how far B is from A on the best number there is."""
    for name, sign in (
        ("lpips", 1.0),
        ("psnr", -1.0),
        ("haarpsi", -1.0),
        ("ssim", -1.0),
        ("adherence", -1.0),
    ):
        value = pair.metrics.get(name)
        if value is not None and not math.isnan(value):
            return sign * value
    return 0.0


def parity_words(run: RunModel, a: str, b: str) -> str:
    """How near to eager the engines of two candidates are, each by its worst one; empty where not known."""
    said = []
    for side, name in (("A", a), ("B", b)):
        candidate = run.state.candidates.get(name)
        worst = candidate.verdict.parity if candidate is not None and candidate.verdict is not None else None
        if worst is not None:
            said.append(f"{side} {worst.likeness} ({worst.component})")
    return f"{text.PARITY}: {', '.join(said)}" if said else ""


def gate_pairs(run: RunModel, a: str, b: str) -> list[Pair]:
    """Pairs from the gate's pictures of two candidates, worst first; no model has to run."""
    candidates = run.state.candidates
    if a not in candidates or b not in candidates:
        return []
    first, second = candidates[a].verdict, candidates[b].verdict
    if first is None or second is None:
        return []
    own = {(sample.prompt, sample.seed): sample for sample in first.samples}
    pairs = []
    for sample in second.samples:
        other = own.get((sample.prompt, sample.seed))
        one, two = run.picture(other.image if other else ""), run.picture(sample.image)
        if one is not None and two is not None:
            pairs.append(
                Pair(
                    sample.prompt,
                    sample.seed,
                    one,
                    two,
                    sample.metrics,
                    sample.frames,
                    sample.curves,
                    run.picture(sample.given),
                )
            )
    return sorted(pairs, key=badness, reverse=True)


def compared_pairs(result: Mapping[str, Any]) -> list[Pair]:
    """Pairs from the worker's `compare` result, in its order (worst first)."""
    folder = Path(result["folder"])
    return [
        Pair(
            str(row["prompt"]),
            int(row["seed"]),
            folder / row["a"],
            folder / row["b"],
            {name: float(value) for name, value in row["metrics"].items() if isinstance(value, int | float)},
            int(row.get("frames", 0)),
            {name: tuple(values) for name, values in row.get("curves", {}).items()},
            folder / row["given"] if row.get("given") else None,
        )
        for row in result["rows"]
    ]


def set_words(result: Mapping[str, Any]) -> tuple[str, str]:
    """How far two sets are apart as sets, in one line; and what is not given, and why, for who asks."""
    parts = []
    for one in result.get("sets", ()):
        bounds = f" ({text.number(one['low'])} to {text.number(one['high'])})" if "low" in one else ""
        parts.append(f"{one['title']} {text.number(one['value'])}{bounds}")
    why = str(result.get("sets_note", ""))
    if not parts and why:
        parts.append("As sets: not compared without the metrics pack; the Device step gets it.")
    return "   ".join(parts), why
