"""What the gate measures of one live candidate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.candidate import Census
from agent.evaluate import census, conduct
from agent.evaluate.bench import Bench
from agent.evaluate.conduct import Timed
from agent.evaluate.doubt import BATCH, Doubt
from agent.evaluate.prompts import Asked, Prompts
from agent.evaluate.reference import Reference
from agent.sandbox import Answer, Process
from engines.measure import bootstrap, images, robustness
from engines.measure.bootstrap import Interval
from engines.measure.neighbours import Neighbours
from engines.measure.quality import Quality
from engines.measure.timing import Timing
from engines.plan import Plan

Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]

WIDTH: Final = 0.16
"""Width of the speed-up's interval, as a share of it, that is narrow enough to search by."""
TURNS: Final = 3
"""Turns of a candidate that may be enough, where they give so narrow an interval (of Welch and Student)."""
_ENOUGH: Final = 2
"""Reasons for a person to look, after which no more are sought."""
_MARGINS: Final = {"haarpsi": 0.08, "psnr": 3.0}
"""By how much pictures of timed calls may be worse than the gate's, beyond three standard errors."""


@dataclass(frozen=True)
class Measured:
    """Everything that the gate found; pictures (N, H, W, 3) or clips (N, F, H, W, 3) of all gate prompts."""

    images: Pixels
    values: Mapping[str, Values]
    metrics: Mapping[str, Interval]
    loss: Interval
    timing: Timing
    stages: Mapping[str, float]
    throughput: Mapping[int, float]
    robustness: Mapping[str, str]
    fallbacks: tuple[str, ...]
    suspicions: tuple[str, ...]
    """Why a person has to look; empty where nobody has."""
    curves: Mapping[str, Values] = field(default_factory=dict)
    """Of clips: paired metrics by frame (N, F)."""
    calls: tuple[Timed, ...] = ()
    """Timed calls with their pictures."""
    cpu: tuple[float, ...] = ()
    """CPU seconds for a picture in the candidate's timed calls."""
    baseline_cpu: tuple[float, ...] = ()
    others: float = 0.0
    """Share of the processors that other programs used during the timed calls, 0 to 1."""
    warm_up: int = 0
    """Calls of the candidate before the first that was timed."""
    told: tuple[Mapping[str, int], int] = ({}, 0)
    """Rows by component that the pipeline told of a call, and that call's pictures."""
    census: Census | None = None
    """What was counted of a picture."""
    sets_note: str = ""
    """Why `metrics` holds none of sets."""


def measure(
    bench: Bench,
    process: Process,
    prompts: Prompts,
    reference: Reference,
    quality: Quality,
    smoke: Pixels,
    *,
    plan: Plan | None,
    plain: bool,
    cached: bool,
    doubt: Doubt,
) -> Measured:
    """Measure a loaded candidate; `smoke` are its pictures of the first prompts.

    A `plain` script is nothing but its recipe; any other is tried for what
    pipelines do not do (`agent.evaluate.conduct`).  `plan` is its recipe's;
    `cached`: it declares a prompt cache; `doubt` looks whether it is worth going on.

    Raises:
        CandidateFailure: it fails on the way.
        Hopeless: it is not worth measuring in full.
        BaselineError: the baseline does.
    """
    asked = reference.asked
    pictures, batched = _draw_rest(process, asked, smoke, doubt)
    curves = quality.curves(pictures, reference.images)
    values = quality.values(pictures, reference.images, asked.prompts, curves)
    losses = quality.losses(values, reference.adherence)
    of_sets, sets_note = quality.of_sets(pictures, reference.images)
    last, checks, likeness = _robustness(bench, process, reference, pictures)
    timed: dict[str, list[Values]] = {"haarpsi": [], "psnr": []}
    calls, cpu = list[Timed](), dict[str, list[float]](baseline=[], candidate=[])

    def compare(_: Asked, ours: Pixels, theirs: Pixels) -> None:
        timed["haarpsi"].append(images.haarpsi(ours, theirs))
        timed["psnr"].append(images.psnr(ours, theirs))

    def keep(side: str, wanted: Asked, answer: Answer) -> None:
        cpu[side].append(answer.cpu / len(wanted))
        if side == "candidate":
            calls.append(Timed(wanted, answer.images))

    warm_up, watched = process.calls, Neighbours()
    timing = bench.alternate(process, prompts, compare, keep, least=TURNS, width=WIDTH, seconds=4.0)
    others = watched.share(bench.workload.batch * sum(map(sum, cpu.values())))
    found = [
        _worse_when_timed(name, values.get(name), timed[name], margin) for name, margin in _MARGINS.items()
    ]
    if not plain:
        found += [
            conduct.shuffled(pictures, reference, quality),
            _unless_ok(checks["repeat"]) if likeness < conduct.AGAIN else "",
            _unless_ok(checks["batch"]),
        ]

        def repeated() -> str:
            kept = conduct.repeated(process, prompts, bench.encoding if cached else 0.0)
            checks["repeat"] = kept or checks["repeat"]
            return kept

        for trial in (
            repeated,
            lambda: conduct.looked_at_again(process, calls),
            lambda: conduct.spread(process, bench, asked),
            lambda: conduct.still_working(process),
        ):
            if len([one for one in found if one]) < _ENOUGH:
                found.append(trial())
    return Measured(
        images=pictures,
        values=values,
        metrics={name: bootstrap.mean(value) for name, value in values.items()} | of_sets,
        sets_note=sets_note,
        loss=quality.loss(losses),
        timing=timing,
        stages=_stages(last, timing),
        throughput={BATCH: BATCH / batched, bench.workload.batch: 1 / timing.latency.value},
        robustness=checks,
        fallbacks=last.fallbacks,
        suspicions=tuple(filter(None, found)),
        curves=curves,
        calls=tuple(calls),
        cpu=tuple(cpu["candidate"]),
        baseline_cpu=tuple(cpu["baseline"]),
        others=others,
        warm_up=warm_up,
        told=(last.rows, 1),
        census=census.of_program(last, plan) if plain else None,
    )


def _unless_ok(check: str) -> str:
    return "" if check == robustness.OK else check


def _draw_rest(process: Process, asked: Asked, smoke: Pixels, doubt: Doubt) -> tuple[Pixels, float]:
    """All gate pictures, and the median seconds of a warm batch of four; looked at as they come."""
    drawn, seconds = [smoke], list[float]()
    for start in range(len(smoke), len(asked), BATCH):
        part = asked.part(start, start + BATCH)
        answer = process.generate(part.prompts, part.seeds)
        drawn.append(answer.images)
        seconds.append(answer.seconds * BATCH / len(part))
        if start + BATCH < len(asked):
            doubt.look(np.concatenate(drawn), "gate")
    return np.concatenate(drawn), float(np.median(seconds))


def _robustness(
    bench: Bench, process: Process, reference: Reference, pictures: Pixels
) -> tuple[Answer, dict[str, str], float]:
    """An answer, the checks, and how like (dB) the same request is to itself."""
    asked = reference.asked
    prompt, other = asked.prompts[0], next((text for text in asked.prompts if text != asked.prompts[0]), "")
    seed = asked.seeds[0]

    def one(text: str, number: int) -> Answer:
        return process.generate([text], [number])

    alone, again = one(prompt, seed), one(prompt, seed)
    other_seed = one(prompt, seed + 1_000_003)
    other_prompt = one(other or f"{prompt}, seen from far away", seed)
    checks = robustness.check(
        robustness.Drawn(
            alone.images[0], again.images[0], pictures[0], other_seed.images[0], other_prompt.images[0]
        )
    )
    if checks["seeds"] != robustness.OK or checks["prompts"] != robustness.OK:
        # A model that does not react itself cannot be asked to; only then is the baseline's time spent.
        for name, texts, seeds in (
            ("seeds", (prompt,), (seed + 1_000_003,)),
            ("prompts", (other or f"{prompt}, seen from far away",), (seed,)),
        ):
            own = bench.draw_baseline(Asked(texts, seeds)).images[0]
            if robustness.same(own, reference.images[0]):
                checks[name] = robustness.OK
    return again, checks, float(conduct.likeness(alone.images, again.images)[0])


def _stages(last: Answer, timing: Timing) -> dict[str, float]:
    """Seconds by stage for one picture as the candidate tells them, if they can be true at all."""
    told = {name: float(value) for name, value in last.stages.items() if math.isfinite(value) and value >= 0}
    return told if sum(told.values()) <= 1.5 * max(timing.candidate) else {}


def _worse_when_timed(name: str, gate: Values | None, timed: list[Values], margin: float) -> str:
    """Whether pictures of timed calls are worse than the gate's: a script that knows when it is timed."""
    if gate is None or not timed:
        return ""
    found = np.concatenate(timed)
    found, gate = found[np.isfinite(found)], gate[np.isfinite(gate)]
    if len(found) < 2 or len(gate) < 2:
        return ""
    # Three pictures can lie close together by chance: an honest script's spread as much as the gate's.
    spread = float(gate.var(ddof=1))
    error = math.sqrt(max(float(found.var(ddof=1)), spread) / len(found) + spread / len(gate))
    drop = float(gate.mean() - found.mean())
    if drop > 3 * error + margin:
        title = "PSNR" if name == "psnr" else "HaarPSI"
        return (
            f"Timed pictures are less like the baseline's than the gate's ({title} {found.mean():.2f} "
            f"against {gate.mean():.2f}); look at what the script does when it is timed."
        )
    return ""
