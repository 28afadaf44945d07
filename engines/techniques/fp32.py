"""Full precision, where a device's plain one is a half."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Technique, precision_objection, register


@register
@dataclass(frozen=True)
class Float32(Technique):
    """Run denoiser and decoder in fp32 on a device that runs models in fp16: for numbers that fp16 loses."""

    name = "fp32"
    title = "fp32"
    summary = (
        "Compute the denoiser and the decoder in 32-bit floats on a device whose plain precision is a half."
    )
    order = 99
    export = "weights"

    def explain(self) -> str:
        return (
            "Denoiser and decoder compute in fp32: numbers beyond 65504, where fp16 ends, stay numbers, for"
            " twice the memory traffic."
        )

    def label(self) -> str:
        return "fp32"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, precision="fp32")

    def objection(self, plan: Plan) -> str | None:
        return super().objection(plan) or precision_objection("fp32", plan)
