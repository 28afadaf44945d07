"""Between the agent's values and the events that mirror them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent.candidate import BuiltEngine, Candidate, Census, Counted, Interval, Proposal, Sample, Step, Verdict
from agent.evolution.front import Judged
from engines.measure.images import PSNR_CAP
from studio.errors import RunError
from studio.record import events
from studio.record import verdict as told
from studio.record.state import RunState


def verdict_event(verdict: Verdict) -> told.Verdict:
    """As recorded: numbers that are not finite are left out."""
    fields = asdict(verdict)
    for name in ("latency", "speedup", "loss"):
        fields[name] = _finite_interval(fields[name])
    for name in ("latency_p90", "memory", "floor"):
        fields[name] = _finite(fields[name])
    for name in ("stages", "throughput", "spent"):
        fields[name] = {key: value for key, value in fields[name].items() if _finite(value) is not None}
    fields["metrics"] = {
        key: kept
        for key, value in fields["metrics"].items()
        if (kept := _finite_interval(value, key == "psnr")) is not None
    }
    for sample in fields["samples"]:
        sample["metrics"] = _finite_metrics(sample["metrics"])
    return told.Verdict.model_validate(fields)


def finite_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Without what is not finite; an infinite PSNR becomes `PSNR_CAP`."""
    return _finite_metrics(dict(metrics))


def verdict_value(verdict: told.Verdict) -> Verdict:
    """What was recorded, as the agent's value."""
    fields: dict[str, Any] = verdict.model_dump()
    for name in ("latency", "speedup", "loss"):
        fields[name] = None if fields[name] is None else Interval(**fields[name])
    fields["metrics"] = {name: Interval(**value) for name, value in fields["metrics"].items()}
    fields["samples"] = tuple(Sample(**sample) for sample in fields["samples"])
    fields["engines"] = tuple(BuiltEngine(**engine) for engine in fields["engines"])
    if fields["census"] is not None:
        counted = tuple(Counted(**one) for one in fields["census"]["counted"])
        fields["census"] = Census(**{**fields["census"], "counted": counted})
    return Verdict(**fields)


def candidate_value(proposed: events.CandidateProposed, script: str) -> Candidate:
    """What was recorded, as the agent's value; `script` is the file's text."""
    recipe = tuple(Step(step.technique, dict(step.parameters)) for step in proposed.recipe)
    return Candidate(
        id=proposed.id,
        generation=proposed.generation,
        proposal=Proposal(
            recipe, proposed.why, proposed.origin, proposed.parents, proposed.code, proposed.by
        ),
        script=script,
    )


def read_candidate(folder: Path, proposed: events.CandidateProposed) -> Candidate:
    """With its script, from the run's folder.

    Raises:
        RunError: the script is no longer there.
    """
    try:
        script = (folder / proposed.script).read_text(encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"The script of {proposed.id} is missing from the run ({folder / proposed.script}); "
            "restore the run's folder or start a new run."
        ) from error
    return candidate_value(proposed, script)


def judged(state: RunState, folder: Path | None = None) -> list[Judged]:
    """Every candidate that has a verdict, in the order of proposal; with scripts where a folder is given.

    Raises:
        RunError: a script is missing from the folder.
    """
    return [
        Judged(
            candidate_value(candidate.proposal, "")
            if folder is None
            else read_candidate(folder, candidate.proposal),
            verdict_value(candidate.verdict),
        )
        for candidate in state.candidates.values()
        if candidate.verdict is not None
    ]


def declined(state: RunState) -> list[Candidate]:
    """Candidates that the user did not want to run, without their scripts."""
    return [candidate_value(state.candidates[name].proposal, "") for name in state.declined]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _finite_interval(value: dict[str, float] | None, is_psnr: bool = False) -> dict[str, float] | None:
    if value is None:
        return None
    if is_psnr:
        value = {key: min(number, PSNR_CAP) for key, number in value.items()}
    return value if all(math.isfinite(number) for number in value.values()) else None


def _finite_metrics(metrics: dict[str, float]) -> dict[str, float]:
    capped = {name: min(value, PSNR_CAP) if name == "psnr" else value for name, value in metrics.items()}
    return {name: value for name, value in capped.items() if math.isfinite(value)}
