"""Which parts of an Apple chip Core ML may use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

from engines.plan import Plan, Units
from engines.techniques.base import Parameter, Technique, register


@register
@dataclass(frozen=True)
class ComputeUnits(Technique):
    """The unit decides the form of attention too: by head for the Neural Engine, whole elsewhere."""

    units: Units = "neural-engine"

    name = "compute-units"
    title = "Compute units"
    summary = "Restrict Core ML to the GPU, the Neural Engine or the CPU, with the attention that suits it."
    order = 92
    export = "kernel"
    parameters = (
        Parameter(
            "units",
            "choice",
            "neural-engine",
            "What Core ML may use beside the CPU.",
            choices=get_args(Units),
        ),
    )

    def explain(self) -> str:
        if self.units == "neural-engine":
            return "Core ML uses the Neural Engine; attention is computed head by head (split einsum)."
        if self.units == "all":
            return "Core ML chooses the unit for each operator."
        return f"Core ML uses the {self.units.upper()} only."

    def label(self) -> str:
        return f"on {self.units}"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, units=self.units)
