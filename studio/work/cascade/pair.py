"""The tables of a run's trained cascade: its pair's speeds, scores and qualities."""

from __future__ import annotations

import json
from pathlib import Path

from studio.errors import PlanError
from studio.plan.cascade import Cascade
from studio.plan.measured import Speed, measured_tables
from studio.plan.tables import Tables
from studio.record.journal import Journal
from studio.record.library import find_run
from studio.record.state import RunState


def pair_tables(home: Path, run: str, light: str = "", heavy: str = "") -> Tables:
    """Of the named pair, or of the one trained last.

    Raises:
        PlanError: the run has no such trained cascade.
        RunError, JournalError: no such run.
    """
    folder = find_run(home, run)
    kept = sorted(folder.glob("cascade/*/cascade.json"), key=lambda path: path.stat().st_mtime)
    wanted = [path for path in kept if not (light and heavy) or path.parent.name == f"{light}-{heavy}"]
    if not wanted:
        pair = f"for {light} and {heavy} " if light and heavy else ""
        raise PlanError(
            f"The run {folder.name} has no trained discriminator {pair}yet; train one in the Cascade step "
            "of the window, or give --profiles, --confidences and --quality."
        )
    try:
        cascade = Cascade.from_json(json.loads(wanted[-1].read_text(encoding="utf-8"))["cascade"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PlanError(f"{wanted[-1]} cannot be read ({error}); train the discriminator again.") from None
    state = RunState.replay(Journal.read(folder))

    def speed(name: str) -> Speed:
        candidate = state.candidates.get(name)
        verdict = candidate.verdict if candidate is not None else None
        return Speed(name, verdict.throughput if verdict is not None else {})

    return measured_tables(cascade, speed(cascade.light), speed(cascade.heavy))
