"""Freeze cross-attention once the picture's meaning is settled."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Card, Parameter, Target, Technique, register


@register
@dataclass(frozen=True)
class AttentionGate(Technique):
    """T-GATE (Zhang et al. 2024, arXiv 2404.02747): no cross-attention and no guidance after a step."""

    after: float = 0.5

    name = "attention-gate"
    title = "Attention gate"
    summary = "After the gate, re-use what cross-attention answered and stop guidance."
    order = 53
    export = "host-loop"
    parameters = (Parameter("after", "float", 0.5, "Share of the steps before the gate.", low=0.2, high=0.9),)

    def explain(self) -> str:
        return (
            f"The first {self.after:.0%} of the steps are whole and guided; the others take one pass each, "
            "with the cross-attention of the last whole one, the mean with and without the prompt."
        )

    def label(self) -> str:
        return f"gate {self.after:.0%}"

    def applies(self, card: Card, target: Target) -> str | None:
        if card.task == "upscaling":
            return (
                "Some of the upscaler's attention layers see the prompt where others see the picture; they"
                " cannot be told apart, so leave the gate out."
            )
        return super().applies(card, target)

    def apply(self, plan: Plan) -> Plan:
        until = min(plan.loop.guidance_until, self.after)
        return replace(
            plan,
            denoiser=replace(plan.denoiser, gated=True),
            loop=replace(plan.loop, gate_after=self.after, guidance_until=until),
        )
