"""Counts of what was done for one picture, and what they say against a script.

A script that is nothing but its recipe runs this program's own code, so its
pipeline's counts stand.  Any other draws one picture again while torch's
observer writes down each operation to the judge (`agent.evaluate.trace`).

What that proves: the operations that were told of are told of in full, in
their shapes and types, by code below Python, and cannot be taken back.  What it
does not: the observer is memory of the script's own process, which a script
that calls machine code could rewrite, and work in other runtimes is seen only
as calls.  So it is held against what a script cannot write: the trace's
own numbering, the pictures of a timed call, the request's and the timed
calls' seconds by the judge's clock, and what this machine can do at best.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from agent import candidate
from agent.candidate import Census
from agent.evaluate.conduct import Timed, likeness
from agent.evaluate.trace import Seen, Trace
from agent.sandbox import Answer, Counted
from engines.plan import Plan, Precision

FLOPS: Final = 0.9
"""Share of the declared work that torch must be seen to do."""
SIDES: Final = 0.9
"""Share of the recipe's convolutions, by side, that must be seen."""
_LARGE: Final = 0.02
"""Share of all convolutions' work from which a side is looked at."""
_NEARLY_ALL: Final = 0.75
"""Of the largest side: a picture worked on at less of it was drawn small and enlarged."""
_SAME: Final = 30.0
"""dB that the counted picture must reach against the timed one; batches and threads change less."""
_SLACK: Final = 1.2
"""By how much a machine may beat the best rate measured on it before its clock is doubted."""
_NARROW: Final = ("bfloat16", "float16", "int8", "uint8", "float8")
_PRECISIONS: Final[Mapping[str, Precision]] = {
    "float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "int8": "int8", "float8": "fp8",
}  # fmt: skip
_BY_TORCH: Final = ("torch", "compile")
"""Engines whose work torch's dispatcher sees."""


def of_program(answer: Answer, plan: Plan | None) -> Census:
    """The count of a script that is nothing but its recipe, from an answer with one picture."""
    return Census("program", _by_component(answer.components), _declared(plan))


def of_trace(seen: Seen, plan: Plan | None) -> Census:
    """The count of a script with code of its own."""
    trace, pictures = seen.trace, len(seen.asked)
    every = sum(trace.sides.values())
    return Census(
        "trace",
        _by_component(trace.components, pictures),
        _declared(plan),
        trace.flops / pictures,
        {side: round(done / every, 4) for side, done in sorted(trace.sides.items())} if every else {},
        dict(trace.dtypes),
    )


def _by_component(found: Sequence[Counted], pictures: int = 1) -> tuple[candidate.Counted, ...]:
    return tuple(
        candidate.Counted(
            one.component, one.shape, one.engine, round(one.calls / pictures), round(one.rows / pictures)
        )
        for one in found
    )


def _declared(plan: Plan | None) -> str:
    return "" if plan is None else f"{plan.backend} {plan.precision}"


# -- what speaks against it ----------------------------------------------------------------------


def untouched(seen: Seen) -> str:
    """Whether the count itself was left alone: functions of others, and every record of torch's, once."""
    if patched := [str(name) for name in seen.said.get("patched") or ()]:
        shown = ", ".join(patched[:4])
        return f"The script replaces functions that are not its own: {shown}; call them as they are."
    if not seen.trace.complete:
        return (
            "What torch writes down of its operations was cut short or written by somebody else "
            f"({seen.trace.operations} records came): let its observer be."
        )
    return ""


def as_timed(seen: Seen, timed: Timed) -> str:
    """Whether the counted call drew what the timed call of the same prompts and seeds had drawn."""
    found = likeness(seen.answer.images, timed.images)
    if float(np.median(found)) >= _SAME:
        return ""
    return (
        f"A timed picture comes out differently when its operations are counted (PSNR {found.min():.0f} to "
        f"{found.max():.0f} dB): the script does something else while it is watched."
    )


def possible(seen: Seen, fastest: float, rate: Callable[[Precision], float | None]) -> str:
    """Whether this machine can do what was counted in the time that it took, counted and timed.

    `fastest` are the seconds of a picture in the quickest timed call; `rate` gives FLOP/s at best.
    """
    rates = [found for kind in seen.trace.dtypes if (found := rate(_PRECISIONS.get(kind, "int8")))]
    if not rates or not seen.trace.flops:
        return ""
    work = seen.trace.flops / len(seen.asked)
    least = work / (_SLACK * max(rates))
    for seconds, when in (
        (seen.answer.seconds / len(seen.asked), "it was counted"),
        (fastest, "it was timed"),
    ):
        if seconds < least:
            return (
                f"torch wrote down {work / 1e9:.2f} GFLOP for a picture that took {seconds * 1000:.2f} ms "
                f"when {when}, and this machine needs {least * 1000:.2f} ms for so much: the count and the "
                "clock do not belong together."
            )
    return ""


def types(seen: Seen, plan: Plan | None) -> str:
    """Whether types and engines are the declared ones."""
    if plan is None:
        return ""
    narrow = [kind for kind in seen.trace.dtypes if kind.startswith(_NARROW)]
    if narrow and plan.precision == "fp32":
        return f"The script calculates in {', '.join(narrow)} and declares no precision; declare it."
    engines = seen.said.get("engines")
    if isinstance(engines, Mapping):
        for component, engine in engines.items():
            if component in ("denoiser", "decoder") and engine != f"{plan.backend} {plan.precision}":
                return (
                    f"The {component} runs as {engine}, and the recipe declares {plan.backend} "
                    f"{plan.precision}."
                )
    return ""


def work(seen: Seen, plan: Plan | None, needed: float) -> str:
    """Whether torch did about the work of one picture (`needed`, FLOPs) where the recipe has it do that."""
    if plan is None or not needed:
        return ""
    done = seen.trace.flops / len(seen.asked)
    if plan.backend not in _BY_TORCH and done > 0.5 * needed:
        return (
            f"torch did {done / 1e9:.2f} GFLOP for a picture that the recipe has {plan.backend} do: "
            "the declared engine does not run."
        )
    if _dispatched(plan) and done < FLOPS * needed:
        return (
            f"torch did {done / 1e9:.2f} GFLOP for a picture, and the declared recipe needs "
            f"{needed / 1e9:.2f}: steps, rows or pixels are left out."
        )
    return ""


def _dispatched(plan: Plan) -> bool:
    """Whether each operation of a plan's goes through torch's dispatcher: not in a replayed graph."""
    return plan.backend == "torch" and not plan.graphs


def sides(seen: Seen, plan: Plan | None, recipe: Trace) -> str:
    """Whether convolutions work at the sides, in pixels, at which the recipe's own do, as much."""
    if plan is None or not _dispatched(plan):
        return ""
    every = sum(recipe.sides.values())
    ours = seen.trace.sides
    short = [
        side
        for side, wanted in recipe.sides.items()
        if wanted > _LARGE * every and ours.get(side, 0.0) < SIDES * wanted
    ]
    if not short:
        return ""
    side = max(short)
    share = ours.get(side, 0.0) / recipe.sides[side]
    return (
        f"Convolutions at {side} pixels do {share:.0%} of the declared recipe's work there: the script "
        "draws smaller or less often than it declares."
    )


def full_size(seen: Seen, plan: Plan | None, usual: Trace) -> str:
    """Whether a picture is worked on at about the size that the unchanged model works at.

    A picture that is drawn small and enlarged is another one's size, whatever a script says of it: everything
    is compared at the model's native size.  Where torch does little of the work nothing can be said.
    """
    if not usual.sides or seen.trace.flops < 0.1 * usual.flops:
        return ""
    tiles = 1 if plan is None else plan.loop.decode_tiles
    expected = max(usual.sides) / tiles
    largest = max(seen.trace.sides, default=0)
    if largest >= _NEARLY_ALL * expected:
        return ""
    return (
        f"No operation works at more than {largest} pixels where the unchanged model works at "
        f"{expected:.0f}: the picture is drawn small and enlarged."
    )


def latent_size(seen: Seen, plan: Plan | None, latent: Sequence[int]) -> str:
    """Whether known denoisers were given latents (C, h, w) of the workload's size."""
    if plan is not None and plan.loop.small_until > 0:
        return ""
    wanted = latent[-1]
    for one in seen.trace.components:
        side = one.shape.rpartition("x")[2]
        if one.component == "denoiser" and side.isdigit() and int(side) < wanted:
            return (
                f"The denoiser was given {one.shape} in {one.calls} calls, and the workload's latent is "
                f"{'x'.join(str(side) for side in latent[1:])}: the picture is drawn small and enlarged."
            )
    return ""


def chosen(calls: Sequence[Timed]) -> Timed:
    """A timed call by chance: which one is counted nobody can know."""
    return random.SystemRandom().choice(list(calls))
