"""Weights in 8-bit floats, widened layer by layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Technique, register


@register
@dataclass(frozen=True)
class LayerwiseCasting(Technique):
    """diffusers' layerwise casting of the denoiser: float8 (e4m3) in memory, the plan's precision at work."""

    name = "layerwise-casting"
    title = "Layerwise casting"
    summary = "Keep the denoiser's weights as 8-bit floats and widen each layer's while it runs."
    order = 97
    export = "kernel"

    def explain(self) -> str:
        return (
            "Weights take 8 bits each in memory; a layer's are widened before it runs and narrowed after it."
            " Norms, positions and the outer projections stay as they are."
        )

    def label(self) -> str:
        return "layerwise casting"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, ways=replace(plan.ways, cast=True))
