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
from studio.work.benchmark import read


def pair_tables(
    home: Path, run: str, light: str = "", heavy: str = "", *, speeds: Path | None = None
) -> Tables:
    """Of the named pair, or of the one trained last.

    `speeds`: the folder of another run, or of a recording of one, whose
    verdicts on candidates of the same names and recipes are used.

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
    own = RunState.replay(Journal.read(folder))
    state = read(speeds) if speeds is not None else own

    def speed(name: str) -> Speed:
        candidate, known = state.candidates.get(name), own.candidates.get(name)
        if speeds is not None and (
            candidate is None or known is None or candidate.proposal.recipe != known.proposal.recipe
        ):
            raise PlanError(f"{speeds} has no candidate {name} with the recipe that {folder.name} has.")
        verdict = candidate.verdict if candidate is not None else None
        if verdict is None:
            return Speed(name, {})
        latency = verdict.latency.value if verdict.latency is not None else None
        return Speed(name, verdict.throughput, latency, verdict.latency_p90)

    return measured_tables(cascade, speed(cascade.light), speed(cascade.heavy))
