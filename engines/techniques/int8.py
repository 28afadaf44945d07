"""Eight-bit integers with calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Technique, precision_objection, register


@register
@dataclass(frozen=True)
class Int8(Technique):
    """Post-training quantisation of the denoiser, calibrated on latents from every part of the schedule."""

    name = "int8"
    title = "int8"
    summary = "Compute the denoiser in 8-bit integers, calibrated over all timesteps."
    order = 105
    export = "weights"

    def explain(self) -> str:
        return "Weights and activations are quantised to 8 bits with ranges calibrated over all timesteps."

    def label(self) -> str:
        return "int8"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, precision="int8")

    def objection(self, plan: Plan) -> str | None:
        """The knowledge file's sentence for the CPU; for another device, its engine's own."""
        return super().objection(plan) if plan.device == "cpu" else precision_objection("int8", plan)
