"""Recorded launches."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Technique, register


@register
@dataclass(frozen=True)
class CudaGraphs(Technique):
    """Record each component's launches once for each batch size and replay them, as compile always does."""

    name = "cuda-graphs"
    title = "CUDA graphs"
    summary = "Record eager torch's launches on a card once, and replay them."
    order = 93
    export = "kernel"

    def explain(self) -> str:
        return (
            "Every kernel that a component starts is recorded once for each batch size and replayed with one "
            "call: the card no longer waits for Python."
        )

    def label(self) -> str:
        return "CUDA graphs"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, graphs=True)
