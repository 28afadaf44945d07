"""Certification: claims checked on fresh prompts outside the search."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from agent.candidate import Candidate, Interval
from agent.evolution.choice import LOSSLESS_DECIBELS, decibels, to_certify
from agent.evolution.front import Judged
from studio.errors import RunError
from studio.record import data, events
from studio.work.convert import judged, read_candidate
from studio.work.job import Job

if TYPE_CHECKING:
    from agent.evaluate.judge import Judge
    from studio.work.runs import OpenRun

PROMPTS: Final = 200
LOSSLESS_PROMPTS: Final = 64
LOSSLESS_SPEEDUP: Final = 2.0
LOSSLESS_CLAIM: Final = f"PSNR of {LOSSLESS_DECIBELS:.0f} dB or more"
TRIES: Final = 3
"""Candidates that may fail a claim before it is given up."""
MARGIN: Final = 0.5
"""dB by which a candidate may miss in the search and still be worth certifying."""

Check = Callable[[], None]


def certify_run(
    run: OpenRun, judge: Judge, claim: str, tolerance: float, packable: Callable[[str], bool], check: Check
) -> None:
    """Certify the winner and a nearly lossless candidate; each kind ends with the first that holds.

    Where the first one that holds is for exploring only, the fastest that can
    be packaged is certified too.  What an interrupted certification had
    already recorded is not done again.
    """
    history = judged(run.state, run.folder)
    named = [one.candidate for one in to_certify(history, tolerance)]
    best = _first_that_holds(run, judge, named, claim, PROMPTS, check)
    if best is None or not packable(best):
        likely = [one for one in history if not one.is_baseline and one.is_measured and one.loss <= tolerance]
        ready = [one for one in sorted(likely, key=lambda one: one.seconds) if packable(one.id)]
        fastest = [one.candidate for one in ready[:TRIES]]
        _first_that_holds(run, judge, fastest, claim, PROMPTS, check)
    _first_that_holds(run, judge, _nearly_lossless(history), LOSSLESS_CLAIM, LOSSLESS_PROMPTS, check)


def _nearly_lossless(history: Sequence[Judged]) -> list[Candidate]:
    """Twice as fast before the others; then those whose measured interval holds the claim; then by speed."""
    near = [
        one
        for one in history
        if not one.is_baseline and one.is_measured and (decibels(one) or 0.0) >= LOSSLESS_DECIBELS - MARGIN
    ]

    def slow(one: Judged) -> bool:
        return one.verdict.speedup is None or one.verdict.speedup.value < LOSSLESS_SPEEDUP

    def doubtful(one: Judged) -> bool:
        measured = one.verdict.metrics.get("psnr")
        return measured is None or measured.low < LOSSLESS_DECIBELS

    ranked = sorted(near, key=lambda one: (slow(one), doubtful(one), one.seconds))
    return [one.candidate for one in ranked][:TRIES]


def _first_that_holds(
    run: OpenRun, judge: Judge, candidates: Sequence[Candidate], claim: str, prompts: int, check: Check
) -> str | None:
    for candidate in candidates:
        done = next(
            (one for one in run.state.certified if (one.id, one.claim) == (candidate.id, claim)), None
        )
        if done is None:
            done = certify_one(run, judge, candidate, claim, prompts, check)
        if done.held:
            return candidate.id
    return None


def certify_one(
    run: OpenRun,
    judge: Judge,
    candidate: Candidate,
    claim: str,
    prompts: int,
    check: Check,
    told: Callable[[int, int, str], object] | None = None,
) -> events.Certified:
    """Check one claim and record what came of it; `told` hears how far it is."""

    def progress(done: int, total: int, doing: str = "") -> None:
        check()
        words = f"certifying {candidate.id}: {claim}" + (f" ({doing})" if doing else "")
        run.record(events.Progress(done=done, total=total, doing=words))
        if told is not None:
            told(done, total, words)

    found = judge.certify(candidate, claim, prompts, progress)
    check()
    certified = events.Certified(
        id=candidate.id,
        claim=claim,
        held=found.held,
        prompts=found.prompts,
        loss=_interval(found.loss),
        speedup=_interval(found.speedup),
        note=found.note,
        isolation=found.isolation,
    )
    run.record(certified)
    return certified


def _interval(found: Interval | None) -> data.Interval | None:
    bounds = () if found is None else (found.value, found.low, found.high)
    if found is None or not all(math.isfinite(bound) for bound in bounds):
        return None
    return data.Interval(value=found.value, low=found.low, high=found.high)


def certify(
    job: Job,
    run: str,
    candidate: str,
    claim: str = "",
    prompts: int = PROMPTS,
    without_walls: bool = False,
) -> dict[str, Any]:
    """Command `certify`: check one claim about one candidate of a run on `prompts` fresh ones.

    A claim that needs more gets more (`agent.evaluate.claims.LEAST_PROMPTS`); none: the run's own.

    Raises:
        RunError: there is no such run or candidate, the candidate is the baseline or did not pass, or
            another process writes the run.
        JudgeError: the claim cannot be certified.
        WallsError: nothing limits candidates here, and the user has not agreed to that.
    """
    from agent.evaluate.claims import read_claim
    from studio.work.ready import prepare_again
    from studio.work.runs import MEMORY, ask_first, writing

    ask_first(without_walls=without_walls)
    folder = job.run_folder(run)
    with writing(job, folder) as there:
        chosen = there.state.candidate(candidate)
        if chosen.proposal.origin == "baseline" or not chosen.passed:
            raise RunError(
                f"{chosen.id} is the baseline or did not pass, so nothing can be certified of it; name a "
                "candidate that passed."
            )
        if claim:
            read_claim(claim)
        if prompts < 1:
            raise RunError("A claim is checked on one prompt at least; give a larger number.")
        job.progress(0, 0, "opening the model")
        ready = prepare_again(there.state, job.home / MEMORY)
        with ready.judge(folder) as judge:
            job.progress(0, 0, "measuring the baseline")
            judge.baseline()
            made = certify_one(
                there,
                judge,
                read_candidate(folder, chosen.proposal),
                claim or ready.claim,
                prompts,
                job.check,
                job.progress,
            )
    return {"certified": made.model_dump(mode="json")}
