"""What a cache's rule has to know of a model, measured on it: TeaCache's curve, MagCache's ratios.

The plan's own engines draw two pictures with every step whole; what they show on the way is kept in the
cache by everything that decides it, and goes into the loop's settings, so that a package carries it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.backends.calibration import SEED, prompts_for
from engines.errors import BuildError
from engines.hostloop.reuse import relative_change
from engines.hostloop.settings import LoopSettings, Reuse
from engines.paths import cache_folder, digest, read_json, write_json
from engines.plan import Plan

if TYPE_CHECKING:
    from engines.models.model import Model

Arrays = dict[str, NDArray[Any]]
Component = Callable[[Arrays], Arrays]
FORMAT: Final = 1
PICTURES: Final = 2
DEGREE: Final = 4
"""Of TeaCache's curve, as its authors fit it."""


def is_measured(plan: Plan) -> bool:
    """Whether the plan's loop knows all that its rule asks for."""
    reuse = plan.loop.reuse
    if reuse is None or reuse.rule == "residual":
        return True
    return bool(reuse.curve if reuse.rule == "modulated" else reuse.ratios)


def measured(plan: Plan, model: Model, components: Callable[[], Mapping[str, Component]]) -> Plan:
    """The plan with what its rule asks for, from the cache or by drawing with `components()`.

    Raises:
        BuildError: the model's answers are not finite, or do not change at all from step to step.
    """
    reuse = plan.loop.reuse
    if reuse is None or is_measured(plan):
        return plan
    path = cache_folder("calibration") / f"{_key(plan, model, reuse)}.json"
    found = read_json(path)
    if found is None:
        found = _draw(plan.loop, reuse, model, components())
        with suppress(OSError):  # a candidate's process may only read the cache, and measures for itself
            write_json(path, found)
    numbers: dict[str, Any] = {name: tuple(value) for name, value in found.items()}
    return replace(plan, loop=replace(plan.loop, reuse=replace(reuse, **numbers)))


def _key(plan: Plan, model: Model, reuse: Reuse) -> str:
    """Threshold and length have no part in it."""
    loop = replace(plan.loop, reuse=None, batch=1, prompt_cache=False, negative_prompt="")
    engine = (plan.backend, plan.precision, plan.device)
    return digest(FORMAT, PICTURES, model.hash, reuse.rule, plan.denoiser, loop.to_json(), engine)


def _draw(
    loop: LoopSettings, reuse: Reuse, model: Model, components: Mapping[str, Component]
) -> dict[str, list[float]]:
    from engines.hostloop.loop import Loop

    steps: list[list[Arrays]] = []
    now: Arrays = {}

    def heard(name: str, component: Component) -> Component:
        def call(inputs: Arrays) -> Arrays:
            found = component(inputs)
            now.update({one: found[one] for one in ("probe", "feature", "prediction") if one in found})
            if name == "denoiser_last":
                # the row with the prompt is the last one, guided or not
                steps[-1].append({one: value[-1:].copy() for one, value in now.items()})
            return found

        return call

    # no step may re-use: the rule that asks for no measurement, with every step warm
    whole = Reuse("residual", 0.0, warm=1 - 1e-6)
    settings = replace(loop, reuse=whole, batch=1, batched_guidance=True)
    drawing = Loop({name: heard(name, one) for name, one in components.items()}, model.tokenizers, settings)
    for index, prompt in enumerate(prompts_for(model, PICTURES)):
        steps.append([])
        drawing.generate([prompt], [SEED + index])
    return curve_of(steps) if reuse.rule == "modulated" else {"ratios": ratios_of(steps)}


def curve_of(pictures: list[list[Arrays]]) -> dict[str, list[float]]:
    """TeaCache's polynomial: change of the prediction by change of the modulated input, between neighbours.

    Raises:
        BuildError: nothing to fit it to.
    """
    pairs = [(before, now) for steps in pictures for before, now in itertools.pairwise(steps)]
    given, answered = (
        np.array([relative_change(before[name], now[name])[0] for before, now in pairs])
        for name in ("probe", "prediction")
    )
    if not (np.isfinite(given).all() and np.isfinite(answered).all()) or len(np.unique(given)) < 2:
        raise BuildError(
            "TeaCache's curve cannot be measured: the model's input does not change from step to step, or its"
            " answers are not finite; take more steps, or leave teacache out"
        )
    degree = min(DEGREE, len(np.unique(given)) - 1)
    # scaled for the fit: changes are small, and their fourth powers vanish beside 1
    scale = float(given.max())
    scaled = np.polyfit(given / scale, answered, degree)
    curve = scaled / scale ** np.arange(degree, -1, -1)
    return {"curve": curve.tolist(), "span": [float(given.min()), scale]}


def ratios_of(pictures: list[list[Arrays]]) -> list[float]:
    """MagCache's ratios, by step: the mean over tokens of how long what the blocks add is beside before.

    Raises:
        BuildError: the blocks add nothing, or their answers are not finite.
    """
    lengths = np.array(
        [[np.linalg.norm(step["feature"][0], axis=-1) for step in steps] for steps in pictures]
    )  # (pictures, steps, tokens)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (lengths[:, 1:] / lengths[:, :-1]).mean(axis=(0, 2))
    if not np.isfinite(found).all():
        raise BuildError(
            "MagCache's ratios cannot be measured: the model's blocks add nothing, or their answers are not"
            " finite; leave magcache out"
        )
    return [1.0, *found.tolist()]
