"""Merge similar tokens before self-attention."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Parameter, Technique, register


@register
@dataclass(frozen=True)
class TokenMerging(Technique):
    """ToMe for Stable Diffusion (Bolya and Hoffman 2023, arXiv 2303.17604).

    The ratio is part of the graph, so that each one is captured and built
    anew: a few choices instead of a range.
    """

    ratio: float = 0.35

    name = "token-merging"
    title = "Token merging"
    summary = "Merge similar tokens before self-attention and spread the result again after it."
    order = 60
    export = "graph"
    parameters = (
        Parameter(
            "ratio", "choice", 0.35, "Share of the tokens that is merged away.", choices=(0.2, 0.35, 0.5)
        ),
    )

    def explain(self) -> str:
        return (
            f"Self-attention sees {1 - self.ratio:.0%} of the tokens; each of the others shares the result "
            "of the one most like it."
        )

    def label(self) -> str:
        return f"merge {self.ratio:.0%}"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, denoiser=replace(plan.denoiser, merge_ratio=self.ratio))
