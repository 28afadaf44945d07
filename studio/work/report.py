"""The report: one HTML file that says what was found, how, and what it does not prove."""

from __future__ import annotations

import base64
import io
import math
import time as clock
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from studio import __version__
from studio.errors import ReportError
from studio.record import costs
from studio.record.data import Interval
from studio.record.described import Metric
from studio.record.journal import Journal
from studio.record.settings import write_atomically
from studio.record.state import CandidateState, RunState
from studio.record.verdict import Sample
from studio.work.job import Job
from studio.work.report_plot import Point, pareto, steps, time

TEMPLATE: Final = Path(__file__).with_name("report.html.jinja")
PICTURES: Final = 8
FRAME_MS: Final = 125
"""Milliseconds that a frame of a clip is shown."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of the headline and whether it may be believed."""

    text: str
    standing: str
    """`certified`, `refuted` or `measured`: the last is the gate's word only."""
    detail: str


def report(job: Job, run: str, out: str = "") -> dict[str, Any]:
    """Command `report`: write the file, give its path.

    Raises:
        RunError, JournalError: no such run, or one that cannot be read.
        ReportError: the file cannot be written.
    """
    folder = job.run_folder(run)
    path = Path(out).expanduser() if out else folder / "report.html"
    if path.is_dir():
        path = path / "report.html"
    text = render(folder, RunState.replay(Journal.read(folder)))
    try:
        write_atomically(path, text)
    except OSError as error:
        raise ReportError(
            f"The report cannot be written to {path} ({error.strerror or error}); "
            "choose another place with --out."
        ) from error
    return {"path": str(path)}


def render(folder: Path, state: RunState) -> str:
    """The whole page.

    Raises:
        ReportError: the run has not begun.
    """
    if state.started is None:
        raise ReportError(
            f"The run {folder.name} holds no result yet; wait until its baseline has been measured."
        )
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    factor, unit = scale_of(state.started.metric)
    environment.filters.update(
        seconds=time,
        interval=_interval,
        number=lambda value: f"{value:.3g}",
        loss=lambda value: "0" if value == 0 else f"{factor * value:.2f}",
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    winner = _named(state, state.winner)
    lossless = _lossless(state)
    single = _best_single(state)
    shown = [candidate for candidate in (state.baseline, winner, lossless) if candidate is not None]
    shown = list({candidate.id: candidate for candidate in shown}.values())
    labels = {"c000": "baseline"}
    for candidate, word in ((single, "best single"), (lossless, "lossless"), (winner, "winner")):
        if candidate is not None:
            labels[candidate.id] = f"{word} {candidate.id}"
    return template.render(
        state=state,
        started=state.started,
        version=__version__,
        made=clock.strftime("%Y-%m-%d %H:%M", clock.localtime(state.updated_at)),
        claims=claims(state),
        winner=winner,
        lossless=lossless,
        plot=pareto(_points(state, labels), f"{state.started.metric.title}, {unit}".rstrip(", ")),
        growth=steps(state.hypervolumes, "candidates judged", "hypervolume"),
        rows=sorted(state.candidates.values(), key=_order),
        singles=[one for one in state.candidates.values() if len(one.proposal.recipe) == 1],
        pictures=_pictures(folder, shown),
        shown=shown,
        machine=state.started.machine,
        notes=notes(state),
        recipe=_recipe,
        asked=lambda candidate: costs.of_candidate(state, candidate.id),
        asked_in_all=costs.of_run(state),
        unit=unit,
    )


def claims(state: RunState) -> list[Claim]:
    """What the run may say about itself, each with how far it was checked."""
    found = []
    for certified in state.certified:
        candidate = state.candidates.get(certified.id)
        if candidate is None:
            continue
        speedup = certified.speedup or (candidate.verdict.speedup if candidate.verdict else None)
        fast = f"{speedup.value:.1f}× as fast" if speedup is not None else "Measured"
        held = "certified" if certified.held else "refuted"
        word = certified.claim if certified.held else f"not proven: {certified.claim}"
        detail = f"{certified.prompts} fresh prompts"
        if certified.loss is not None:
            detail += f", one-sided 95 % bounds {bounds_text(certified.claim, certified.loss)}"
        if speedup is not None:
            detail += f"; speed-up {_interval(speedup)}"
        if certified.isolation:
            detail += f"; walls: {certified.isolation}"
        if certified.note:
            detail += f"; {certified.note}"
        if certified.isolation:
            detail += f"; its script ran {certified.walls}"
        found.append(Claim(f"{certified.id} {candidate.proposal.title}: {fast}, {word}", held, detail))
    winner, single = _named(state, state.winner), _best_single(state)
    if winner is not None and single is not None and winner.id != single.id:
        ratio = advantage(winner, single)
        if ratio is not None:
            sure = ratio.low > 1
            text = (
                f"The winner {winner.id} is {ratio.value:.2f}× as fast as the best single technique "
                f"({single.id} {single.proposal.title})"
            )
            found.append(
                Claim(
                    text,
                    "measured" if sure else "refuted",
                    f"95 % interval {ratio.low:.2f} to {ratio.high:.2f}, "
                    f"{'1 is excluded' if sure else '1 is not excluded'}; both against the same baseline",
                )
            )
    return found


def bounds_text(claim: str, bounds: Interval) -> str:
    """In the claim's own unit."""
    if "point" in claim:
        return f"{100 * bounds.low:.2f} to {100 * bounds.high:.2f} points"
    unit = " dB" if "PSNR" in claim else ""
    return f"{bounds.low:.3g} to {bounds.high:.3g}{unit}"


def advantage(one: CandidateState, other: CandidateState) -> Interval | None:
    """How many times as fast `one` is, from two ratios to the same baseline (independent, log-normal)."""
    if (
        one.verdict is None
        or other.verdict is None
        or one.verdict.speedup is None
        or other.verdict.speedup is None
    ):
        return None
    first, second = one.verdict.speedup, other.verdict.speedup
    if min(first.low, second.low) <= 0:
        return None
    centre = math.log(first.value / second.value)
    spread = math.hypot(math.log(first.high / first.low), math.log(second.high / second.low)) / 2
    return Interval(value=math.exp(centre), low=math.exp(centre - spread), high=math.exp(centre + spread))


def notes(state: RunState) -> list[str]:
    """What a reader must know before believing the page."""
    found = []
    if state.started is not None and state.started.metric.note:
        found.append(state.started.metric.note)
    if state.phase == "running" or state.phase == "paused":
        found.append("The run has not finished: this is what was known when the page was made.")
    elif state.finished is not None and state.finished.reason != "done":
        found.append(f"The run ended early: {state.finished.text}")
    certified = {one.id for one in state.certified if one.held}
    if state.winner is not None and state.winner not in certified:
        found.append(
            "The winner's quality was measured on the search's prompts only, not certified on fresh ones."
        )
    failed = [
        one for one in state.candidates.values() if one.verdict is not None and one.verdict.state == "failed"
    ]
    held = [
        one
        for one in state.candidates.values()
        if one.verdict is not None and one.verdict.state == "quarantined"
    ]
    if failed:
        found.append(f"{len(failed)} of {state.judged} candidates failed; the table says why.")
    if held:
        found.append(
            f"{len(held)} candidates are faster than this machine should allow and wait for a person's look."
        )
    fallbacks = {
        text for one in state.candidates.values() if one.verdict is not None for text in one.verdict.fallbacks
    }
    found.extend(f"Fallback: {text}" for text in sorted(fallbacks))
    found.extend(
        f"{one.id}: {one.verdict.disturbed}"
        for one in state.candidates.values()
        if one.verdict is not None and one.verdict.disturbed
    )
    found.extend(dict.fromkeys(notice.text for notice in state.notices if notice.level != "info"))
    found.append(
        "Times are from this machine only. "
        "Loss during the search is measured on few prompts and has the interval shown; "
        "a claim is certified only where fresh prompts support it at 95 % (one-sided)."
    )
    return found


def _named(state: RunState, name: str | None) -> CandidateState | None:
    return None if name is None else state.candidates.get(name)


def _lossless(state: RunState) -> CandidateState | None:
    from agent.evolution.choice import lossless
    from studio.work.convert import judged

    found = lossless(judged(state))
    return None if found is None else state.candidates[found.id]


def _best_single(state: RunState) -> CandidateState | None:
    """Of the candidates that apply one technique, the best by the winner's own rule."""
    from agent.evolution.choice import best_single
    from studio.work.convert import judged
    from studio.work.loss import LOSSES

    assert state.started is not None
    known = LOSSES.get(state.started.metric.name)
    found = best_single(judged(state), 0.02 if known is None else known.tolerance)
    return None if found is None else state.candidates[found.id]


def scale_of(metric: Metric) -> tuple[float, str]:
    """Factor and unit to show a loss with: shares are shown as points (hundredths)."""
    return (100.0, "points") if metric.unit == "share" else (1.0, metric.unit)


def _points(state: RunState, labels: dict[str, str]) -> list[Point]:
    found = []
    for candidate in state.candidates.values():
        verdict = candidate.verdict
        if verdict is None or verdict.state == "failed" or verdict.latency is None or verdict.loss is None:
            continue
        if candidate.id == "c000":
            kind = "baseline"
        elif verdict.state == "quarantined":
            kind = "quarantined"
        else:
            kind = "front" if candidate.id in state.front else "dominated"
        latency, loss = verdict.latency, verdict.loss
        assert state.started is not None
        factor, _ = scale_of(state.started.metric)
        found.append(
            Point(
                candidate.id,
                candidate.proposal.title,
                (latency.value, latency.low, latency.high),
                (factor * loss.value, factor * loss.low, factor * loss.high),
                verdict.held,
                kind,
                labels.get(candidate.id, ""),
                f"built for: {verdict.built_for}; verified on: {verdict.verified_on}"
                if verdict.verified_elsewhere
                else "",
            )
        )
    return found


def _pictures(folder: Path, shown: list[CandidateState]) -> list[dict[str, Any]]:
    """Rows of the same prompt and seed across the candidates shown, the winner's worst first."""
    by_prompt: dict[tuple[str, int], dict[str, Sample]] = {}
    for candidate in shown:
        for sample in candidate.verdict.samples if candidate.verdict else ():
            by_prompt.setdefault((sample.prompt, sample.seed), {})[candidate.id] = sample
    rows = []
    for (prompt, seed), samples in by_prompt.items():
        cells = [_picture(folder, samples.get(candidate.id)) for candidate in shown]
        complete = sum(cell is not None for cell in cells)
        worst = samples.get(shown[1].id) if len(shown) > 1 else None
        psnr = worst.metrics.get("psnr", 100.0) if worst is not None else 100.0
        rows.append(((-complete, psnr), {"prompt": prompt, "seed": seed, "cells": cells}))
    return [row for _, row in sorted(rows, key=lambda one: one[0])[:PICTURES]]


def _picture(folder: Path, sample: Sample | None) -> dict[str, Any] | None:
    if sample is None:
        return None
    try:
        first = folder / sample.image
        data = _animated(first, sample.frames) if sample.frames else first.read_bytes()
    except (OSError, ValueError):
        return None
    return {"data": base64.b64encode(data).decode("ascii"), "metrics": sample.metrics}


def _animated(first: Path, frames: int) -> bytes:
    """A clip as an animated PNG, which browsers play."""
    from PIL import Image

    from agent.evaluate.reference import read_picture

    pictures = [Image.fromarray(one) for one in read_picture(first, frames)]
    file = io.BytesIO()
    pictures[0].save(file, format="PNG", save_all=True, append_images=pictures[1:], duration=FRAME_MS, loop=0)
    return file.getvalue()


def _order(candidate: CandidateState) -> tuple[int, float]:
    verdict = candidate.verdict
    if candidate.id == "c000":
        return (0, 0.0)
    if verdict is None or verdict.latency is None or verdict.state == "failed":
        return (2, 0.0)
    return (1, verdict.latency.value)


def _interval(value: Interval | None, digits: int = 2) -> str:
    return (
        ""
        if value is None
        else f"{value.value:.{digits}f}× ({value.low:.{digits}f} to {value.high:.{digits}f})"
    )


def _recipe(candidate: CandidateState) -> str:
    parts = []
    for step in candidate.proposal.recipe:
        given = ", ".join(f"{name}={value}" for name, value in step.parameters.items())
        parts.append(f"{step.technique}({given})" if given else step.technique)
    return " + ".join(parts) or "as shipped"
