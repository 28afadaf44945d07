"""The physical floor: no machine does the declared work faster than its arithmetic.

Nominal FLOPs of what a plan says that it does (calls times FLOPs of each
component, counted by torch on the meta device), over the best nominal rate
measured on this machine for the precision.  A result below it did not do the
work, or the rate is wrong: a person has to look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from engines.hostloop.conditions import encoders_of
from engines.hostloop.guidance import surely_guided
from engines.hostloop.passes import (
    GATED,
    SMALL,
    SPLIT,
    STAGES,
    gate,
    guided_steps,
    small_steps,
    whole_steps,
)
from engines.hostloop.reuse import reuse_of, whole_at_least
from engines.hostloop.settings import LoopSettings
from engines.plan import Plan, Precision

if TYPE_CHECKING:
    from engines.capture.capture import Capture

Rate = Callable[[Precision], float]
"""Best nominal FLOP/s measured here at a precision."""
FORMAT: Final = 1


def rows(loop: LoopSettings) -> dict[str, int]:
    """Rows that each component computes at least for one picture, the prompt not cached."""
    return _rows(loop, surely_guided(loop, loop.steps))


def _rows(loop: LoopSettings, guided: range) -> dict[str, int]:
    by_step = [2 if step in guided else 1 for step in range(loop.steps)]
    if not loop.steps:
        return {"upscaler": 1}
    found = {encoder.component: 2 if guided else 1 for encoder in encoders_of(loop)}
    found |= dict.fromkeys(loop.picture.encoders if loop.picture else (), 1)
    found["decoder"] = (loop.latent_shape[1] if loop.decode_frames else 1) * loop.decode_tiles**2
    if loop.diffusion_decoder is not None:
        found["diffusion_decoder"] = loop.diffusion_decoder.steps
    return found | _denoiser_rows(loop, by_step)


def _denoiser_rows(loop: LoopSettings, by_step: list[int]) -> dict[str, int]:
    every = sum(by_step)
    if reuse := reuse_of(loop):
        # what the data decide is counted as if it were left out whenever it may be
        least = sum(by_step[step] for step in whole_at_least(reuse, loop.steps))
        return dict(zip(STAGES, (every, least, every), strict=True))
    if loop.forecast_order:
        full = sum(by_step[step] for step in whole_steps(loop, loop.steps))
        return dict(zip(STAGES, (every, full, every), strict=True))
    if loop.small_until > 0:
        small = sum(by_step[: small_steps(loop, loop.steps)])
        return {"denoiser": every - small, SMALL: small}
    if loop.gate_after < 1 and loop.cache_interval > 1:
        whole, at = whole_steps(loop, loop.steps), gate(loop, loop.steps)
        before, after = sum(by_step[:at]), sum(by_step[at:])
        full = sum(by_step[step] for step in whole if step < at)
        frozen = sum(by_step[step] for step in whole if step >= at)
        return dict(zip(SPLIT + GATED, (full, before - full, frozen, after - frozen), strict=True))
    if loop.gate_after < 1:
        full = sum(by_step[: gate(loop, loop.steps)])
    elif loop.cache_interval > 1:
        full = sum(by_step[step] for step in whole_steps(loop, loop.steps))
    else:
        return {"denoiser": every}
    return dict(zip(SPLIT, (full, every - full), strict=True))


def most(loop: LoopSettings) -> dict[str, int]:
    """`rows`, where nothing of what the data decide is left out."""
    found = _rows(loop, guided_steps(loop, loop.steps))
    if reuse_of(loop) is not None:
        found["denoiser_rest"] = found["denoiser_first"]
    return found


def flops(capture: Capture) -> float:
    """Nominal FLOPs of one row of a component; counted once for each structure, then kept."""
    from engines.paths import cache_folder, read_json, write_json

    kept = cache_folder("flops") / f"{capture.key}.json"
    found = read_json(kept)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        found = {"format": FORMAT, "flops": _count(capture), "component": capture.component}
        write_json(kept, found)
    return float(found["flops"])


def _count(capture: Capture) -> float:
    """On the meta device; with real numbers where a network looks at them, as text encoders do at a mask."""
    import copy

    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def counted(network: torch.nn.Module, device: str) -> float:
        inputs = [
            torch.ones((1, *spec.shape), dtype=getattr(torch, spec.dtype), device=device)
            for spec in capture.inputs
        ]
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            network(*inputs)
        return float(counter.get_total_flops())

    try:
        return counted(copy.deepcopy(capture.module).to("meta"), "meta")
    except RuntimeError:
        return counted(capture.module, "cpu")


def work(plan: Plan) -> dict[str, float]:
    """Nominal FLOPs for one picture by component, prompt encoding left out where it may be cached."""
    from engines.capture.capture import Capture
    from engines.models.load import open_model
    from engines.pipeline import engines

    model = open_model(plan.model)
    counts = rows(plan.loop)
    if plan.loop.prompt_cache:
        counts |= {name: 0 for name in counts if name.startswith("text_encoder")}
    return {
        request.structure.component: counts[request.structure.component]
        * flops(Capture(model, request.structure))
        for request in engines(plan)
        if counts[request.structure.component]
    }


def seconds(plan: Plan, rate: Rate, done: Mapping[str, float] | None = None) -> float:
    """Seconds for one picture that this machine cannot undercut.

    `done` is what `work(plan)` returned, where that is known already.  Text
    encoders run in fp32 whatever the plan's precision.
    """
    total = 0.0
    for component, amount in (done or work(plan)).items():
        precision: Precision = "fp32" if component.startswith("text_encoder") else plan.precision
        total += amount / max(rate("fp32"), rate(precision))
    return total


def least(plan: Plan) -> float | None:
    """`seconds` by the rates of the plan's device; `None` where nothing here measures them."""
    from engines.measure.rates import measure_peak

    if measure_peak("fp32", plan.device) is None:
        return None
    return seconds(plan, lambda precision: measure_peak(precision, plan.device) or 0.0)
