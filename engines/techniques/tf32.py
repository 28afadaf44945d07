"""Products of fp32 numbers in TF32."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Technique, register


@register
@dataclass(frozen=True)
class TensorFloat32(Technique):
    """fp32 with the tensor cores' ten bits of mantissa in products: its range, a half's precision."""

    name = "tf32"
    title = "TF32"
    summary = "Keep numbers in fp32 on a card and multiply them in TF32."
    order = 98
    export = "kernel"

    def explain(self) -> str:
        return (
            "Weights and activations are fp32; products and convolutions round them to ten bits of mantissa,"
            " keep their range and add up in fp32."
        )

    def label(self) -> str:
        return "TF32"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, precision="fp32", ways=replace(plan.ways, tf32=True))
