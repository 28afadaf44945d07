"""Begin at half the size, where a step costs a quarter."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Parameter, Technique, register


@register
@dataclass(frozen=True)
class ProgressiveResolution(Technique):
    """The first steps settle the layout at half the size; the rest refine it (RALU, arXiv 2507.08422).

    The latent is cleaned of noise, enlarged and noised again with the noise that the picture began with.
    """

    until: float = 0.3

    name = "progressive-resolution"
    title = "Progressive resolution"
    summary = "Take the first steps at half the size, enlarge the latent, noise it again and go on."
    order = 47
    export = "host-loop"
    parameters = (
        Parameter("until", "float", 0.3, "Share of the steps at half the size.", low=0.1, high=0.7),
    )

    def explain(self) -> str:
        return (
            f"The first {self.until:.0%} of the steps draw at half the height and width; the latent is then "
            "enlarged, noised again and refined at full size."
        )

    def label(self) -> str:
        return f"half size {self.until:.0%}"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, loop=replace(plan.loop, small_until=self.until))

    def objection(self, plan: Plan) -> str | None:
        if any(side % 2 for side in plan.loop.latent_shape[-2:]):
            height, width = plan.loop.latent_shape[-2:]
            return f"A latent of {height} x {width} has no half; choose a size that has."
        if plan.loop.steps < 2:
            return "One step cannot be taken at two sizes; take more steps."
        return super().objection(plan)
