"""Two of every four weights zero, which tensor cores skip."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Technique, register


@register
@dataclass(frozen=True)
class Sparse24(Technique):
    """2:4 sparsity by magnitude (Mishra et al. 2021, arXiv 2104.08378), without training after it.

    The masks are checked on the CPU; the kernels that skip zeros are torch's and TensorRT's on cards from
    Ampere on.
    """

    name = "sparse-24"
    title = "2:4 sparsity"
    summary = "Zero the two smallest of every four weights, for tensor cores that skip them."
    order = 14
    export = "weights"

    def explain(self) -> str:
        return (
            "Of every four neighbouring weights of a matrix product the two smallest are zero, and kernels "
            "for it skip them; nothing is trained afterwards."
        )

    def label(self) -> str:
        return "2:4 sparse"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, denoiser=replace(plan.denoiser, sparse=True))
