"""Run a transformer's front and back blocks at every step, and those between where the front ones moved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from engines.hostloop.settings import Reuse
from engines.plan import Plan
from engines.techniques.base import Parameter, Technique, register

WARM: Final = 0.16
"""Share of the steps, from the first, that are whole: 8 of 50, as cache-dit has it."""


@register
@dataclass(frozen=True)
class DBCache(Technique):
    """DBCache (cache-dit): first-block caching with more blocks in front, to judge, and behind, to mend.

    Shares in place of cache-dit's numbers of blocks (F8B0 of FLUX's 57 is 0.14), so that a recipe fits any
    model.
    """

    threshold: float = 0.12
    front: float = 0.15
    back: float = 0.0

    name = "dbcache"
    title = "DBCache"
    summary = "Keep the middle of a transformer while its front blocks change little; run its back blocks."
    order = 58
    export = "data-dependent"
    parameters = (
        Parameter(
            "threshold", "float", 0.12,
            "Relative change of what the front blocks add above which the middle runs again.",
            low=0.02, high=0.5,
        ),
        Parameter("front", "float", 0.15, "Share of the blocks in front.", low=0.05, high=0.3),
        Parameter("back", "float", 0.0, "Share of the blocks behind.", low=0.0, high=0.3),
    )  # fmt: skip

    def explain(self) -> str:
        behind = f" and the last {self.back:.0%}" if self.back else ""
        return (
            f"The first {self.front:.0%} of the blocks{behind} run at every step; those between are re-used"
            f" while what the first ones add has changed by at most {self.threshold:g} since they last ran,"
            f" but run in the first {WARM:.0%} of the steps."
        )

    def label(self) -> str:
        return f"DB {self.threshold:g} F{100 * self.front:.0f}B{100 * self.back:.0f}"

    def apply(self, plan: Plan) -> Plan:
        return replace(
            plan,
            denoiser=replace(plan.denoiser, staged=True, front=self.front, back=self.back),
            loop=replace(plan.loop, reuse=Reuse("residual", self.threshold, warm=WARM)),
        )
