"""Guide the middle steps only."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Parameter, Technique, register


@register
@dataclass(frozen=True)
class GuidanceInterval(Technique):
    """Limited-interval guidance (Kynkäänniemi et al. 2024, arXiv 2404.07724): no early and no late steps."""

    start: float = 0.1
    until: float = 0.7

    name = "guidance-interval"
    title = "Guidance interval"
    summary = "Guide the steps in the middle only; the first and the last ones cost one pass instead of two."
    order = 41
    export = "host-loop"
    parameters = (
        Parameter("start", "float", 0.1, "Share of the steps before guidance begins.", low=0.05, high=0.4),
        Parameter("until", "float", 0.7, "Share of the steps after which it has ended.", low=0.5, high=1.0),
    )

    def explain(self) -> str:
        return (
            f"Guidance begins after {self.start:.0%} of the steps and ends after {self.until:.0%}; the "
            "others follow the prompt alone."
        )

    def label(self) -> str:
        return f"guided {self.start:.0%}-{self.until:.0%}"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, loop=replace(plan.loop, guidance_from=self.start, guidance_until=self.until))

    def objection(self, plan: Plan) -> str | None:
        if plan.loop.guidance_until <= self.start:
            return (
                f"Guidance would begin after {self.start:.0%} of the steps and another technique ends it "
                f"after {plan.loop.guidance_until:.0%}; choose an earlier start or leave one of them out."
            )
        return super().objection(plan)
