"""Attention in 8-bit integers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Technique, register


@register
@dataclass(frozen=True)
class SageAttention(Technique):
    """SageAttention (Zhang et al., arXiv 2410.02367), for the denoiser's attention layers that it fits."""

    name = "sage-attention"
    title = "SageAttention"
    summary = "Compute the denoiser's attention in 8-bit integers where its heads allow it."
    order = 66
    export = "kernel"

    def explain(self) -> str:
        return (
            "Attention with heads of 64, 96 or 128 and no mask multiplies queries and keys as 8-bit integers;"
            " the rest of it, and other layers, are torch's own."
        )

    def label(self) -> str:
        return "SageAttention"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, ways=replace(plan.ways, attention="sage"))
