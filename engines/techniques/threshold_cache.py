"""Leave out most of the denoiser where its first block says that little has changed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.hostloop.reuse import LONGEST
from engines.plan import Plan
from engines.techniques.base import Parameter, Technique, register


@register
@dataclass(frozen=True)
class ThresholdCache(Technique):
    """First-block caching (ParaAttention): the data decide, picture by picture, in the host loop."""

    threshold: float = 0.15

    name = "threshold-cache"
    title = "First-block cache"
    summary = (
        "Run the first block at every step and the rest only where the first block's answer has changed."
    )
    order = 52
    export = "data-dependent"
    parameters = (
        Parameter(
            "threshold", "float", 0.15,
            "Relative change of what the first block adds above which the rest runs again.",
            low=0.02, high=0.5,
        ),
    )  # fmt: skip

    def explain(self) -> str:
        return (
            f"Where what the first block adds has changed by less than {self.threshold:g} since the last "
            f"whole pass, that pass's answer is re-used, at most {LONGEST} steps in a row."
        )

    def label(self) -> str:
        return f"first block {self.threshold:g}"

    def apply(self, plan: Plan) -> Plan:
        return replace(
            plan,
            denoiser=replace(plan.denoiser, staged=True),
            loop=replace(plan.loop, cache_threshold=self.threshold),
        )
