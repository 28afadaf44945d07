"""Forecast the denoiser's deep features between steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Parameter, Technique, register


@register
@dataclass(frozen=True)
class FeatureForecast(Technique):
    """TaylorSeer (Liu et al. 2025, arXiv 2503.06923): the feature goes on as its finite differences say."""

    interval: int = 2
    degree: int = 1

    name = "feature-forecast"
    title = "Feature forecast"
    summary = "Run the whole denoiser every few steps and forecast its deep feature in between."
    order = 51
    export = "host-loop"
    parameters = (
        Parameter("interval", "int", 2, "One whole pass serves this many steps.", low=2, high=6),
        Parameter("degree", "int", 1, "Finite differences that the forecast goes by.", low=1, high=2),
    )

    def explain(self) -> str:
        line = "straight line" if self.degree == 1 else "parabola"
        return (
            f"One whole pass of the denoiser serves {self.interval} steps; the others run its outer layers "
            f"on a deep feature that goes on in a {line} from the last {self.degree + 1} whole passes."
        )

    def label(self) -> str:
        return f"forecast {self.interval}, {self.degree}"

    def apply(self, plan: Plan) -> Plan:
        return replace(
            plan,
            denoiser=replace(plan.denoiser, staged=True),
            loop=replace(plan.loop, cache_interval=self.interval, forecast_order=self.degree),
        )

    def objection(self, plan: Plan) -> str | None:
        least = self.interval * (self.degree + 1)
        if plan.loop.steps <= least:
            return (
                f"A feature forecast with interval {self.interval} and degree {self.degree} pays from "
                f"{least + 1} steps on and this recipe takes {plan.loop.steps}; choose a smaller interval or "
                "degree, or more steps."
            )
        return super().objection(plan)
