"""Re-use the denoiser's deep features between steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Parameter, Technique, register


@register
@dataclass(frozen=True)
class FeatureCache(Technique):
    """DeepCache (Ma et al. 2023, arXiv 2312.00858): run the U-Net's deep part every few steps only."""

    interval: int = 2

    name = "feature-cache"
    title = "Feature cache"
    summary = "Run the whole denoiser every few steps and only its outer layers in between."
    order = 50
    export = "host-loop"
    parameters = (Parameter("interval", "int", 2, "One whole pass serves this many steps.", low=2, high=6),)

    def explain(self) -> str:
        return (
            f"One whole pass of the denoiser serves {self.interval} steps; the others run its outer layers "
            "on the deep feature that it kept."
        )

    def label(self) -> str:
        return f"cache {self.interval}"

    def apply(self, plan: Plan) -> Plan:
        return replace(
            plan,
            denoiser=replace(plan.denoiser, cached=True),
            loop=replace(plan.loop, cache_interval=self.interval),
        )

    def objection(self, plan: Plan) -> str | None:
        if plan.loop.steps < 2 * self.interval:
            return (
                f"A feature cache with interval {self.interval} pays from {2 * self.interval} steps on and "
                f"this recipe takes {plan.loop.steps}; choose a smaller interval or more steps."
            )
        return super().objection(plan)
