"""The tables of a run's trained cascade: its pair's speeds, scores and qualities."""

from __future__ import annotations

import json
from pathlib import Path

from studio.errors import PlanError, RunError
from studio.plan.cascade import Cascade
from studio.plan.measured import Speed, measured_tables
from studio.plan.tables import Tables
from studio.record.journal import Journal
from studio.record.library import find_run
from studio.record.sides import FOLDER, elsewhere, pair_of, place_of
from studio.record.state import RunState
from studio.work.benchmark import read
from studio.work.cascade.files import RESULT


def pair_tables(
    home: Path, run: str, light: str = "", heavy: str = "", *, speeds: Path | None = None
) -> Tables:
    """Of the named pair, or of the one trained last.

    A candidate of another run that is gone, or of another model now, is as
    fast as it was on the pair's own pictures.

    `speeds`: the folder of another run, or of a recording of one, whose
    verdicts on candidates of the same names and recipes are used.

    Raises:
        PlanError: the run has no such trained cascade.
        RunError, JournalError: no such run.
        CascadeError: two names that make no pair.
    """
    folder = find_run(home, run)
    kept = sorted(folder.glob(f"{FOLDER}/*/{RESULT}"), key=lambda path: path.stat().st_mtime)
    named = bool(light and heavy)
    if named:
        light, heavy = _as_kept(folder, light, heavy, home)
    wanted = [path for path in kept if not named or path.parent == place_of(folder, light, heavy)]
    if not wanted:
        pair = f"for {light} and {heavy} " if named else ""
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

    def speed(name: str, at: int) -> Speed:
        candidate, known = state.candidates.get(name), own.candidates.get(name)
        if speeds is not None and (
            candidate is None or known is None or candidate.proposal.recipe != known.proposal.recipe
        ):
            raise PlanError(f"{speeds} has no candidate {name} with the recipe that {folder.name} has.")
        if candidate is None:
            candidate = elsewhere(folder, own, name, cascade.models[at : at + 1], home)
        verdict = candidate.verdict if candidate is not None else None
        if verdict is None:
            return Speed(name, {})
        latency = verdict.latency.value if verdict.latency is not None else None
        return Speed(name, verdict.throughput, latency, verdict.latency_p90)

    return measured_tables(cascade, speed(cascade.light, 0), speed(cascade.heavy, 1))


def _as_kept(run: Path, light: str, heavy: str, home: Path) -> tuple[str, str]:
    try:
        pair = pair_of(run, light, heavy, home)
    except RunError:  # what was learned of a candidate whose run is gone is still here
        return light, heavy
    return pair.light.name, pair.heavy.name
