"""Leave out a transformer's blocks while the timestep-modulated input has hardly moved."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.hostloop.settings import Reuse
from engines.plan import Plan
from engines.techniques.base import Parameter, Technique, register


@register
@dataclass(frozen=True)
class TeaCache(Technique):
    """TeaCache (Liu et al., arXiv 2411.19108); its curve is measured on the model when it is built."""

    threshold: float = 0.15

    name = "teacache"
    title = "TeaCache"
    summary = "Run a transformer's blocks only once the changes of their modulated input have added up."
    order = 54
    export = "data-dependent"
    parameters = (
        Parameter(
            "threshold", "float", 0.15,
            "Estimated change of the output, added up over steps, at which the blocks run again.",
            low=0.02, high=0.8,
        ),
    )  # fmt: skip

    def explain(self) -> str:
        return (
            "At every step the change of the first block's modulated input is put through a curve measured on"
            f" this model; the blocks run again once these estimates add up to {self.threshold:g}, and at the"
            " first and the last step."
        )

    def label(self) -> str:
        return f"TeaCache {self.threshold:g}"

    def apply(self, plan: Plan) -> Plan:
        return replace(
            plan,
            denoiser=replace(plan.denoiser, staged=True, modulated=True),
            loop=replace(plan.loop, reuse=Reuse("modulated", self.threshold)),
        )
