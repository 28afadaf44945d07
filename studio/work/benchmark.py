"""A run as a table for `docs/benchmarks`: every candidate, slowest first, and what was certified.

python -m studio.work.benchmark tests/data/recorded-run
"""

from __future__ import annotations

import sys
from pathlib import Path

from studio.record.data import Interval
from studio.record.events import Event
from studio.record.journal import Journal
from studio.record.state import RunState


def read(folder: Path) -> RunState:
    """The state of a run's folder, or of a recording of one (`events.jsonl`)."""
    recording = folder / "events.jsonl"
    if not recording.is_file():
        return RunState.replay(Journal.read(folder))
    lines = recording.read_text(encoding="utf-8").splitlines()
    return RunState.replay(Event.model_validate_json(line) for line in lines)


def _range(found: Interval, scale: float = 1.0, digits: str = ".3g") -> str:
    value, low, high = (format(bound * scale, digits) for bound in (found.value, found.low, found.high))
    return f"{value} ({low} to {high})"


def table(state: RunState) -> str:
    """Markdown; seconds per image in ms, loss in points, 95 % intervals."""
    rows = []
    for candidate in state.candidates.values():
        verdict = candidate.verdict
        if verdict is None or verdict.latency is None or verdict.speedup is None or verdict.loss is None:
            continue
        likeness = verdict.metrics.get("psnr")
        decibels = f"{likeness.value:.1f} dB" if likeness and candidate.proposal.origin != "baseline" else ""
        cells = (
            candidate.proposal.id,
            candidate.proposal.title,
            f"{verdict.latency.value * 1000:.3g} ms",
            _range(verdict.speedup),
            _range(verdict.loss, 100, ".2f"),
            decibels,
        )
        rows.append((verdict.latency.value, f"| {' | '.join(cells)} |"))
    lines = ["| Id | Recipe | Per image | Speed-up | Loss, points | PSNR |", "|---|---|---|---|---|---|"]
    lines += [row for _, row in sorted(rows, reverse=True)]
    lines += ["", "## Certified", ""]
    for one in state.certified:
        title = state.candidates[one.id].proposal.title
        outcome = "held" if one.held else "not proven"
        walls = f" Its script ran {one.walls}." if one.isolation else ""
        faster = f"speed-up {_range(one.speedup)}. " if one.speedup else ""
        lines.append(f"- {outcome}: {one.id} ({title}), {one.claim}: {faster}{one.note}{walls}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(read(Path(sys.argv[1]))))
