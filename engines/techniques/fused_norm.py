"""Group norm and SiLU in one hand-written kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Technique, register


@register
@dataclass(frozen=True)
class FusedNorm(Technique):
    """A Triton kernel for eager torch on CUDA (`engines.backends.triton_norm`)."""

    name = "fused-norm"
    title = "Fused group norm"
    summary = "Compute group norm and SiLU of residual blocks in one hand-written CUDA kernel."
    order = 67
    export = "kernel"

    def explain(self) -> str:
        return (
            "The norms of residual blocks and the SiLU after them are one Triton kernel, which reads the "
            "activations twice and writes them once."
        )

    def label(self) -> str:
        return "fused norm"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, denoiser=replace(plan.denoiser, fused_norm=True))
