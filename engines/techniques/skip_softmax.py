"""Attention without the blocks whose weights are close to zero."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Parameter, Technique, register


@register
@dataclass(frozen=True)
class SkipSoftmax(Technique):
    """A Triton kernel for eager torch on CUDA (`engines.backends.triton_attention`)."""

    share: float = 4.0

    name = "skip-softmax"
    title = "Skip-softmax attention"
    summary = "Leave blocks of the denoiser's attention out whose weights are close to zero."
    order = 69
    export = "kernel"
    parameters = (
        Parameter(
            "share",
            "float",
            4.0,
            "Weight, beside the row's largest and over the number of keys, below which a block is left out.",
            low=1.0,
            high=512.0,
        ),
    )

    def explain(self) -> str:
        return (
            "Attention goes over the keys in blocks of 64; one in which no weight reaches "
            f"{self.share:g} / number of keys of the row's largest is left out, its values unread."
        )

    def label(self) -> str:
        return f"skip softmax {self.share:g}"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, ways=replace(plan.ways, attention="skip", skip=self.share))
