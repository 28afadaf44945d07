"""Contenders on one table at equal budget: which share of its front is reached after how many evaluations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.bench.contenders import CONTENDERS, World
from agent.bench.table import about
from agent.candidate import Interval as Bounds
from agent.coder import title
from agent.evolution.front import front
from engines.measure import bootstrap
from engines.measure.bootstrap import Interval

SEEDS: Final = 20
SHORT: Final = 28
"""Evaluations of one run: four generations of seven."""
LONG: Final = 120
SHOWN: Final = (7, 14, SHORT, 60, LONG)
_SEARCHES: Final = {"hybrid": SHORT, "built-in agent": SHORT, "paper": SHORT}
"""These are replayed as long as a run is; samplers, which cost nothing, as long as the goal says."""
_RESAMPLES: Final = 4000

Curves = NDArray[np.float64]
"""(seeds, evaluations): share of the table's hypervolume."""
OnDone = Callable[[str, int], None]


@dataclass(frozen=True)
class Volume:
    """Share of the hypervolume of all rows together that a set of rows has.

    `ratios`: time counts in ratios and loss from the tolerance on, log seconds by
    log(1 + loss / tolerance), which is what the presets' process sees; else seconds by loss, the run's own.
    """

    world: World
    ratios: bool

    @cached_property
    def _points(self) -> NDArray[np.float64]:
        context = self.world.context
        found = np.array([(one.seconds, max(one.loss, 0.0)) for one in self.world.judged])
        return self._placed(found, context.tolerance)

    @cached_property
    def _end(self) -> NDArray[np.float64]:
        reference = np.array([self.world.context.reference])
        return self._placed(reference, self.world.context.tolerance).reshape(-1)

    def _placed(self, points: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
        if not self.ratios:
            return points
        return np.stack([np.log(points[:, 0]), np.log1p(points[:, 1] / tolerance)], axis=1)

    def _of(self, points: NDArray[np.float64]) -> float:
        import moocore

        inside = points[(points < self._end).all(axis=1)]
        return float(moocore.hypervolume(inside, ref=self._end)) if len(inside) else 0.0

    def curve(self, rows: Sequence[int], budget: int) -> NDArray[np.float64]:
        """(budget,); the last value goes on where a search ended earlier."""
        whole = self._of(self._points)
        found = [self._of(self._points[list(rows[:count])]) / whole for count in range(1, len(rows) + 1)]
        return np.array([*found, *[found[-1]] * (budget - len(found))][:budget])


def search_all(
    world: World, seeds: int, kept: Path | None, on_done: OnDone = lambda _name, _seed: None
) -> dict[str, list[list[int]]]:
    """Every contender with every seed; what stands in the file `kept` is not searched again."""
    mark = _mark(world)
    known = {} if kept is None else _kept(kept, mark)
    found: dict[str, list[list[int]]] = {}
    for name, contender in CONTENDERS.items():
        budget = _SEARCHES.get(name, LONG)
        found[name] = []
        for seed in range(seeds):
            place = (name, seed, budget)
            if place not in known:
                known[place] = contender(world, seed, budget)
                if kept is not None:
                    with kept.open("a", encoding="utf-8") as file:
                        file.write(json.dumps([mark, *place, known[place]]) + "\n")
                on_done(name, seed)
            found[name].append(known[place])
    return found


def _kept(path: Path, mark: str) -> dict[tuple[str, int, int], list[int]]:
    """Finished searches of this table by contender, seed and budget; a damaged line is searched again."""
    found: dict[tuple[str, int, int], list[int]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            table, name, seed, budget, rows = json.loads(line)
        except ValueError:
            continue
        if table == mark:
            found[name, seed, budget] = rows
    return found


def _mark(world: World) -> str:
    from engines.paths import digest

    return digest([row.to_json() for row in world.rows], dict(world.table.facts))[:16]


def curves(world: World, searches: Mapping[str, list[list[int]]], *, ratios: bool) -> dict[str, Curves]:
    """The share reached after each evaluation."""
    volume = Volume(world, ratios)
    return {
        name: np.stack([volume.curve(rows, _SEARCHES.get(name, LONG)) for rows in many])
        for name, many in searches.items()
    }


def needed(rival: Curves, reached: NDArray[np.float64], seed: int = 0) -> tuple[Interval, bool]:
    """Evaluations after which the rival's mean is what the other reached, and whether it got there at all.

    `reached` (seeds,).  The interval is over seeds of both; a rival that does not
    get there counts with one more than its budget.
    """
    draw = np.random.default_rng(seed)

    def crossing(mean: NDArray[np.float64], level: float) -> int:
        there = np.flatnonzero(mean >= level)
        return int(there[0]) + 1 if len(there) else len(mean) + 1

    drawn = [
        crossing(
            rival[draw.integers(0, len(rival), len(rival))].mean(axis=0),
            float(reached[draw.integers(0, len(reached), len(reached))].mean()),
        )
        for _ in range(_RESAMPLES)
    ]
    value = crossing(rival.mean(axis=0), float(reached.mean()))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(value, float(low), float(high)), value <= rival.shape[1]


def report(world: World, searches: Mapping[str, list[list[int]]]) -> str:
    """Markdown: the shares, the goal, the front of the table, and what the figures are."""
    facts = world.table.facts
    machine = facts["machine"]
    lines = [
        f"# Samplers and presets on {facts['model']}, {facts['date']}",
        "",
        (
            f"{len(world.rows)} measured candidates, {facts['target']}: {machine.get('processor', '?')}, "
            f"{machine.get('cores', '?')} cores. Loss: {facts['metric']} on {facts['gate']} pictures."
        ),
        about(world.table.rows),
        "",
    ]
    for ratios, heading in (
        (True, "Log seconds by log(1 + loss / tolerance): a ratio of times counts alike everywhere"),
        (False, "Seconds by loss: the hypervolume that a run shows"),
    ):
        found = curves(world, searches, ratios=ratios)
        lines += [f"## {heading}", "", _shares(found), "", *_goal(found), ""]
    lines += ["## Front of the table", "", "| Recipe | Speed-up | Loss, points |", "|---|---:|---:|"]
    for one in front(world.table.judged):
        times, loss = one.verdict.speedup, one.verdict.loss
        if times is not None and loss is not None:
            cells = (title(one.candidate.proposal.recipe), _range(times, 1, ".3g"), _range(loss, 100, ".1f"))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", _NOTES, ""])


def _range(found: Bounds, scale: float, digits: str) -> str:
    value, low, high = (format(scale * bound, digits) for bound in (found.value, found.low, found.high))
    return f"{value} ({low} to {high})"


def _shares(found: Mapping[str, Curves]) -> str:
    seeds = len(next(iter(found.values())))
    lines = [
        f"Share of the table's hypervolume in %, mean of {seeds} seeds with its 95 % interval.",
        "",
        "| Contender | " + " | ".join(f"after {count}" for count in SHOWN) + " |",
        "|---|" + "---:|" * len(SHOWN),
    ]
    for name, curve in found.items():
        cells = []
        for count in SHOWN:
            if count > curve.shape[1]:
                cells.append("")
                continue
            mean = bootstrap.mean(curve[:, count - 1])
            cells.append(_range(Bounds(mean.value, mean.low, mean.high), 100, ".1f"))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _goal(found: Mapping[str, Curves]) -> list[str]:
    """Against every sampler: how long it takes to be where hybrid is after one run."""
    reached = found["hybrid"][:, SHORT - 1]
    said = []
    for name, curve in found.items():
        if name in _SEARCHES:
            continue
        at, there = needed(curve, reached)
        many = f"{at.value:.0f}" if there else f"more than {LONG}"
        high = f"{at.high:.0f}" if at.high <= LONG else f"more than {LONG}"
        said.append(f"- {name}: {many} ({at.low:.0f} to {high})")
    return [
        f"Evaluations until the mean is what hybrid has after {SHORT} (95 % interval over seeds):",
        "",
        *said,
    ]


_NOTES: Final = """\
## What the figures are

A lookup: every contender may ask for measured recipes only and gets the measured row; nothing is
interpolated. The presets' pools are cut down to those recipes. A point that a sampler draws in the joint
space stands for the nearest recipe that it has not asked for (a technique or a choice that differs counts
1, a number its share of the range), and is told back to it as that recipe. Samplers begin with rows drawn
evenly. That favours them three times: half of the rows are neighbours of the front, so a row at random is
better than a recipe at random; no evaluation is spent on a recipe twice; and after 120 evaluations a
large part of the table has been seen by anybody. "As drawn" the nearest recipe may be one that was asked
for before: an evaluation that shows nothing new, where a real run would have measured a recipe like it,
so that is harsher than a real run is. All are given the same two objectives. Rows were measured in turns
with the baseline, so their times are the baseline's over their speed-up. In both presets the built-in
planner's forecast stands for the language model: what a live model would plan is not known here."""
