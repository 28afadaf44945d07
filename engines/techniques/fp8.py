"""Eight-bit floats, scaled anew at every call."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Technique, precision_objection, register


@register
@dataclass(frozen=True)
class Float8(Technique):
    """Matrix products of the denoiser in float8 (e4m3), weights and activations; the rest in bf16."""

    name = "fp8"
    title = "fp8"
    summary = "Compute the denoiser's matrix products in 8-bit floats."
    order = 104
    export = "weights"

    def explain(self) -> str:
        return (
            "Matrix products take weights and activations as 8-bit floats, scaled anew at every call; "
            "convolutions and everything between stay in bf16."
        )

    def label(self) -> str:
        return "fp8"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, precision="fp8")

    def objection(self, plan: Plan) -> str | None:
        """The engine's own words, beside what the knowledge file asks for."""
        return super().objection(plan) or precision_objection("fp8", plan)
