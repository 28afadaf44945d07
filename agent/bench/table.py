"""A table of measured candidates: one line of JSON for what was measured of all, one for each candidate.

It is appended to and never rewritten, so a measurement that is stopped goes on where it was.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from agent.candidate import Candidate, Interval, Proposal, Recipe, State, Step, Verdict
from agent.errors import TableError
from agent.evolution.front import BASELINE, Judged
from agent.evolution.space import key

FORMAT: Final = 1
_INTERVALS: Final = ("speedup", "seconds", "loss", "psnr")


@dataclass(frozen=True, slots=True)
class Row:
    """One measured recipe; intervals are 95 %."""

    recipe: Recipe
    state: State
    why: str
    """`seed`, `spread` or `front`: what it was measured for."""
    reason: str = ""
    speedup: Interval | None = None
    """Baseline time over candidate time, in alternation."""
    seconds: Interval | None = None
    """Of one image on the clock of that moment, whatever else the machine did."""
    loss: Interval | None = None
    psnr: Interval | None = None
    memory: float | None = None
    """MiB."""
    stages: Mapping[str, float] | None = None
    took: float = 0.0
    """Seconds that the evaluation took."""
    load: float = 0.0
    """The system's load over the last minute when it was done."""

    @property
    def is_measured(self) -> bool:
        return self.state == "passed" and self.speedup is not None and self.loss is not None

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "recipe": [[step.technique, dict(step.parameters)] for step in self.recipe],
            "state": self.state,
            "why": self.why,
        }
        if self.reason:
            found["reason"] = self.reason
        for name in _INTERVALS:
            value: Interval | None = getattr(self, name)
            if value is not None:
                found[name] = [float(f"{one:.5g}") for one in (value.value, value.low, value.high)]
        if self.memory is not None:
            found["memory"] = round(self.memory)
        if self.stages:
            found["stages"] = {name: float(f"{value:.4g}") for name, value in self.stages.items()}
        return found | {"took": round(self.took, 1), "load": round(self.load, 2)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Row:
        """Raises `ValueError`, `KeyError` or `TypeError` for what is no row."""
        recipe = tuple(Step(str(name), dict(values)) for name, values in fields["recipe"])
        given: dict[str, Any] = {**fields, "recipe": recipe}
        for name in _INTERVALS:
            if name in fields:
                given[name] = Interval(*fields[name])
        return cls(**given)


@dataclass(frozen=True)
class Table:
    """What was measured: the conditions, and the rows in the order of measuring, each recipe once."""

    facts: Mapping[str, Any]
    """`model`, `hash`, `target`, `workload`, `metric`, `tolerance`, `gate`, `worst_loss`, `machine`, `date`,
    `seed`, `without` (options left out) and the `baseline`'s verdict."""
    rows: tuple[Row, ...] = ()

    @cached_property
    def by_key(self) -> Mapping[str, Row]:
        """Measured rows by the canonical text of their recipe."""
        return {key(row.recipe): row for row in self.rows if row.is_measured}

    @property
    def baseline(self) -> Verdict:
        """The unchanged model."""
        said = self.facts["baseline"]
        return Verdict(
            "passed",
            "gate",
            latency=Interval(*said["seconds"]),
            speedup=Interval(1.0, 1.0, 1.0),
            stages=said["stages"],
            loss=Interval(0.0, 0.0, 0.0),
        )

    def verdict(self, row: Row) -> Verdict:
        """A row as the judge would have said it on a machine where the baseline takes the table's time.

        Its seconds are the baseline's over its speed-up: the two were measured in
        turns, so what else the machine did weighed on both, and rows of different
        hours can stand in one plot.
        """
        assert row.speedup is not None
        base = float(self.facts["baseline"]["seconds"][0])
        times = row.speedup
        latency = Interval(base / times.value, base / times.high, base / times.low)
        scale = latency.value / row.seconds.value if row.seconds is not None else 1.0
        return Verdict(
            row.state,
            "gate",
            row.reason,
            latency=latency,
            speedup=times,
            stages={name: value * scale for name, value in (row.stages or {}).items()},
            memory=row.memory,
            loss=row.loss,
            metrics={} if row.psnr is None else {"psnr": row.psnr},
        )

    @cached_property
    def judged(self) -> tuple[Judged, ...]:
        """The baseline and every measured row."""
        first = Judged(Candidate(BASELINE, 0, Proposal((), "", "baseline"), ""), self.baseline)
        return (
            first,
            *(
                Judged(Candidate(f"c{at:03}", 1, Proposal(row.recipe, row.why, "new"), ""), self.verdict(row))
                for at, row in enumerate(self.rows, 1)
                if row.is_measured
            ),
        )


def read(path: Path) -> Table:
    """The table of a file; damaged lines are left out, a later line on the same recipe is too.

    Raises:
        TableError: there is no such file, or it does not begin as a table does.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"The table {path} cannot be read ({error}); measure one first.") from error
    try:
        facts = json.loads(lines[0])
        if facts["format"] != FORMAT or "baseline" not in facts:
            raise ValueError(f"format {facts['format']}")
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise TableError(f"The file {path} is no table of measured candidates; give another one.") from error
    rows: dict[str, Row] = {}
    for line in lines[1:]:
        try:
            row = Row.from_json(json.loads(line))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        rows.setdefault(key(row.recipe), row)
    return Table(facts, tuple(rows.values()))


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Add one line, after whatever a measurement that was cut off left there."""
    cut = path.exists() and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if cut else "") + json.dumps(line, ensure_ascii=False) + "\n")


def about(rows: Sequence[Row]) -> str:
    """How well the rows are known, in a sentence."""
    there = [row for row in rows if row.is_measured]
    if not there:
        return "Nothing is measured."
    spread = [(row.speedup.high - row.speedup.low) / row.speedup.value for row in there if row.speedup]
    loss = [row.loss.high - row.loss.low for row in there if row.loss]
    return (
        f"{len(there)} of {len(rows)} candidates passed; the 95 % interval of half of the speed-ups is "
        f"narrower than {statistics.median(spread):.0%} of them, that of half of the losses narrower than "
        f"{100 * statistics.median(loss):.1f} points; the load of the machine was "
        f"{min(row.load for row in rows):.1f} to {max(row.load for row in rows):.1f}."
    )
