"""End guidance where both of its passes agree."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Parameter, Technique, register


@register
@dataclass(frozen=True)
class AdaptiveGuidance(Technique):
    """Adaptive guidance (Castillo et al. 2023, arXiv 2312.12487): each picture's own end of guidance."""

    threshold: float = 0.98

    name = "adaptive-guidance"
    title = "Adaptive guidance"
    summary = "End a picture's guidance once its passes with and without the prompt agree."
    order = 42
    export = "data-dependent"
    parameters = (
        Parameter(
            "threshold", "float", 0.98,
            "Cosine similarity of both predictions from which on only the prompt's pass runs.",
            low=0.9, high=0.999,
        ),
    )  # fmt: skip

    def explain(self) -> str:
        return (
            "Each picture is guided until its predictions with and without the prompt have a cosine "
            f"similarity of {self.threshold:g}; from the next step on it follows the prompt alone."
        )

    def label(self) -> str:
        return f"guided to {self.threshold:g}"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, loop=replace(plan.loop, guidance_agreement=self.threshold))
