"""Stop classifier-free guidance before the last steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Parameter, Technique, register


@register
@dataclass(frozen=True)
class GuidanceCutoff(Technique):
    """Guide the first share of the steps only: the rest take one pass instead of two (arXiv 2404.07724)."""

    until: float = 0.6

    name = "guidance-cutoff"
    title = "Guidance cut-off"
    summary = "Guide the first steps only; later ones cost one pass instead of two."
    order = 40
    export = "host-loop"
    parameters = (Parameter("until", "float", 0.6, "Share of the steps that are guided.", low=0.2, high=0.9),)

    def explain(self) -> str:
        return f"The first {self.until:.0%} of the steps are guided, the rest follow the prompt alone."

    def label(self) -> str:
        return f"guided {self.until:.0%}"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, loop=replace(plan.loop, guidance_until=self.until))
