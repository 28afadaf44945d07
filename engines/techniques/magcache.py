"""Leave out a transformer's blocks where what they add is known to keep its size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from engines.hostloop.settings import Reuse
from engines.plan import Plan
from engines.techniques.base import Parameter, Technique, register

WARM: Final = 0.2
"""Share of the steps, from the first, that are whole: the authors' retention ratio."""


@register
@dataclass(frozen=True)
class MagCache(Technique):
    """MagCache (Ma et al., arXiv 2506.09045); its ratios are measured on the model when it is built."""

    threshold: float = 0.12
    longest: int = 3

    name = "magcache"
    title = "MagCache"
    summary = "Run a transformer's blocks only where measured ratios of magnitude say that re-using errs."
    order = 56
    export = "host-loop"
    parameters = (
        Parameter(
            "threshold", "float", 0.12,
            "Error of re-using, added up over steps, at which the blocks run again.",
            low=0.01, high=0.5,
        ),
        Parameter("longest", "int", 3, "Steps in a row that may re-use one whole pass.", low=1, high=6),
    )  # fmt: skip

    def explain(self) -> str:
        return (
            "By ratios of magnitude measured on this model the error of re-using what the blocks added is"
            f" added up; they run again where it reaches {self.threshold:g}, after {self.longest} steps at"
            f" the latest, and in the first {WARM:.0%} of the steps."
        )

    def label(self) -> str:
        return f"MagCache {self.threshold:g}/{self.longest}"

    def apply(self, plan: Plan) -> Plan:
        return replace(
            plan,
            denoiser=replace(plan.denoiser, staged=True, modulated=True),
            loop=replace(plan.loop, reuse=Reuse("magnitude", self.threshold, self.longest, WARM)),
        )
