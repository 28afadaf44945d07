"""Sixteen-bit brain floats."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Technique, precision_objection, register


@register
@dataclass(frozen=True)
class BFloat16(Technique):
    """Run denoiser and decoder in bf16; text encoders stay in fp32."""

    name = "bf16"
    title = "bf16"
    summary = "Compute the denoiser and the decoder in 16-bit brain floats."
    order = 100
    export = "weights"

    def explain(self) -> str:
        return (
            "Denoiser and decoder compute in bf16: half of the memory traffic, and faster multiplication "
            "where the processor has it."
        )

    def label(self) -> str:
        return "bf16"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, precision="bf16")

    @classmethod
    def idle_on(cls, device: str) -> str:
        from engines.backends.torch_ways import has_bf16

        if device != "cpu" or has_bf16():
            return ""
        return "bf16: this processor has no instructions for it, and engines compute in fp32 instead."

    def objection(self, plan: Plan) -> str | None:
        """The knowledge file's sentence for the CPU; for another device, its engine's own."""
        return super().objection(plan) if plan.device == "cpu" else precision_objection("bf16", plan)
