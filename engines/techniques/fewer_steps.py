"""Fewer denoising steps with the model's own weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Card, Parameter, Target, Technique, register


@register
@dataclass(frozen=True)
class FewerSteps(Technique):
    """Visit fewer timesteps of the same noise schedule."""

    steps: int = 15

    name = "fewer-steps"
    title = "Fewer steps"
    summary = "Take fewer denoising steps than the model's authors do."
    order = 20
    export = "host-loop"
    parameters = (Parameter("steps", "int", 15, "How many steps are taken.", low=4, high=50),)

    @classmethod
    def parameters_for(cls, card: Card) -> tuple[Parameter, ...]:
        (steps,) = cls.parameters
        high = max(4, min(50, card.steps - 1))
        return (replace(steps, high=high, default=min(15, high)),)

    def explain(self) -> str:
        return f"The picture is drawn in {self.steps} steps; each step saved is a pass of the denoiser saved."

    def label(self) -> str:
        return f"{self.steps} steps"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, loop=plan.loop.with_steps(self.steps))

    def applies(self, card: Card, target: Target) -> str | None:
        if self.steps >= card.steps:
            return f"{self.steps} steps are not fewer than the model's own {card.steps}; choose fewer."
        return super().applies(card, target)
