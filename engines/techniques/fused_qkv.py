"""One projection instead of three in attention."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Technique, register


@register
@dataclass(frozen=True)
class FusedQKV(Technique):
    """Join the query, key and value projections of each attention block into one matrix product."""

    name = "fused-qkv"
    title = "Fused QKV"
    summary = "Compute query, key and value in one matrix product."
    order = 65
    export = "graph"

    def explain(self) -> str:
        return "Query, key and value come from one larger matrix product instead of three small ones."

    def label(self) -> str:
        return "fused QKV"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, denoiser=replace(plan.denoiser, fused_qkv=True))
