"""Weights that wait in the host's memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Offload, Plan
from engines.techniques.base import Parameter, Technique, register


@register
@dataclass(frozen=True)
class Offloading(Technique):
    """A component at a time on the card, or a group of layers (diffusers' group offloading)."""

    kind: Offload = "model"

    name = "offload"
    title = "Offloading"
    summary = "Keep weights in the host's memory and bring them to the card when they are needed."
    order = 94
    export = "kernel"
    parameters = (
        Parameter(
            "kind", "choice", "model", "What comes and goes: whole components, or groups of layers.",
            choices=("model", "group"),
        ),
    )  # fmt: skip

    def explain(self) -> str:
        if self.kind == "model":
            return (
                "One component's weights at a time are on the card: the denoiser comes once for all steps"
                " and leaves before the decoder comes."
            )
        return "Each layer's weights come to the card while the one before it computes, and leave after it."

    def label(self) -> str:
        return f"{self.kind} offload"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, ways=replace(plan.ways, offload=self.kind))
