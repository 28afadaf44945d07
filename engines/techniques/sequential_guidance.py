"""Two small passes instead of one large one for guidance."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Technique, register


@register
@dataclass(frozen=True)
class SequentialGuidance(Technique):
    """Run the denoiser for the negative prompt and for the prompt one after the other."""

    name = "sequential-guidance"
    title = "Sequential guidance"
    summary = "Two passes of one sample each in place of one pass of two."
    order = 45
    export = "host-loop"

    def explain(self) -> str:
        return "Guided steps call the denoiser twice with half of the batch, which needs less memory at once."

    def label(self) -> str:
        return "sequential"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, loop=replace(plan.loop, batched_guidance=False))
