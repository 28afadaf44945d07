"""The first generation: a spread set that looks for every end of the front at once.

The techniques that promise most stand alone, so that a run can tell what a
combination adds to the best single one; the others look for speed with the
quality kept, for pictures kept, and for speed alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from agent.candidate import Recipe
from agent.evolution.space import Value
from agent.planner.context import Context
from agent.planner.forecast import Forecast
from agent.planner.structures import Fits, assemble
from agent.planner.words import engine_name
from engines.backends.serves import plain_engine

Wish = Mapping[str, Mapping[str, Value]]
"""Techniques with the parameters that are asked for."""

_ENGINES: Final = ("openvino", "onnxruntime", "compile")


def best_engine(context: Context, forecast: Forecast, fits: Fits) -> str | None:
    """The engine with the best forecast that fits here; None: only the one that the baseline runs on does."""
    able = [
        name
        for name in _ENGINES
        if name != plain_engine(context.device)
        and assemble(context.space, {"engine": {"backend": name}}, fits)
    ]
    return min(
        able,
        key=lambda name: forecast.expect((context.space.step("engine", backend=name),)).seconds,
        default=None,
    )


def satisfied(wish: Wish, recipe: Recipe) -> bool:
    """Whether a recipe is enough of what was wished: all of a short wish, most of a long one."""
    return len(recipe) == len(wish) or (len(wish) > 2 and len(recipe) >= len(wish) - 1)


def seeds(context: Context, forecast: Forecast, fits: Fits) -> Iterator[tuple[Wish, str]]:
    """Wishes with their reasons, those that need no engine first, the quickest of them leading."""
    shares = {name: f"{share:.0%}" for name, share in forecast.shares().items()}
    steps = context.steps
    some = max(1, round(0.4 * steps))
    few = max(1, round(0.25 * steps))
    name = best_engine(context, forecast, fits)
    engine: Wish = {} if name is None else {"engine": {"backend": name}}
    label = "" if name is None else engine_name(name)
    cache: Wish = {"prompt-cache": {}}
    late = _decoder_after_student(context, forecast)
    solver: Wish = {"scheduler": {"name": _solver(context)}}

    yield (
        {"student": {}},
        (
            f"Denoising takes {shares['denoise']} of the time and the few-step student needs a handful of "
            f"passes where the model takes {steps * (2 if context.guided else 1)}; with no engine to build, "
            "this gives the first point soonest."
        ),
    )
    yield (
        {"fewer-steps": {"steps": some}},
        (
            f"Denoising takes {shares['denoise']} of the time; {some} steps instead of {steps} "
            "need no engine; alone, to know its worth."
        ),
    )
    if engine:
        yield (
            engine,
            f"{label} alone changes no arithmetic: what the engine is worth with the pictures kept.",
        )
    yield from _remembered(context)
    yield (
        {"student": {}, **engine, **cache, "tiny-decoder": {}},
        (
            f"The fast end: after the student the decoder would take {late:.0%} of the time, "
            f"so it is joined by the tiny decoder{f' and {label}' if label else ''}."
        ),
    )
    yield (
        {**solver, "fewer-steps": {"steps": some}, **engine, **cache},
        (
            f"The careful end: a second-order solver keeps the quality in {some} steps"
            f"{f', and {label} speeds up each' if label else ''}."
        ),
    )
    yield (
        {**engine, "guidance-cutoff": {"until": 0.8}, **cache},
        (
            f"Nearly lossless: {label or 'the engine'} and a prompt cache keep the pictures, "
            "and the last fifth of the steps seldom needs guidance."
        ),
    )
    yield (
        {**solver, "fewer-steps": {"steps": few}, "guidance-cutoff": {"until": 0.6}, **engine, **cache},
        f"Between the ends: {few} second-order steps, guided for the first three fifths only.",
    )
    yield (
        {"student": {}, **engine, **cache},
        f"The student with {label or 'the engine'}, the decoder left as it is: what the decoder is worth.",
    )


def _decoder_after_student(context: Context, forecast: Forecast) -> float:
    """Share of the time that the decoder would take once the student has cut the passes."""
    shares = forecast.shares()
    passes = context.steps * (2 if context.guided else 1)
    few = 4 if not context.space.has("student") else int(context.space.step("student").parameters["steps"])
    return shares["decode"] / (shares["encode"] + shares["decode"] + shares["denoise"] * few / passes)


def _solver(context: Context) -> str:
    if not context.space.has("scheduler"):
        return ""
    names = [str(step.parameters["name"]) for step in context.space.options("scheduler")]
    return next((name for name in names if name.startswith("dpm")), names[0] if names else "")


def _remembered(context: Context) -> Iterator[tuple[Wish, str]]:
    """The best combination of earlier runs on this processor and architecture, else the nearest."""
    good = [
        one
        for one in context.memory
        if one.state == "passed"
        and len(one.recipe) > 1
        and one.speedup is not None
        and one.metric == context.metric
        and one.loss is not None
        and one.loss <= context.tolerance
    ]
    if good:
        best = max(good, key=lambda one: (not one.elsewhere, one.speedup or 0.0))
        yield (
            {step.technique: step.parameters for step in best.recipe},
            (
                f"An earlier run reached {best.speedup:.1f}x with it and a loss of "
                f"{context.loss_text(best.loss or 0.0)} ({best.elsewhere or 'on this processor'})."
            ),
        )
