"""The few-step student: a distilled adapter that draws in one to eight unguided steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Parameter, Technique, register


@register
@dataclass(frozen=True)
class Student(Technique):
    """A student distilled from the guided trajectory (Salimans & Ho 2022, arXiv 2202.00512), merged."""

    steps: int = 4

    name = "student"
    title = "Few-step student"
    summary = "Use the distilled student: a handful of steps without guidance."
    order = 10
    export = "weights"
    parameters = (Parameter("steps", "int", 4, "How many steps the student takes.", low=1, high=8),)

    def explain(self) -> str:
        return (
            f"The student's adapter is merged into the denoiser, which then draws in {self.steps} unguided "
            f"step{'s' if self.steps > 1 else ''} with DDIM, the solver it was distilled for."
        )

    def label(self) -> str:
        return f"student {self.steps}"

    def apply(self, plan: Plan) -> Plan:
        return replace(
            plan,
            denoiser=replace(plan.denoiser, student=True),
            loop=replace(
                plan.loop.with_steps(self.steps),
                scheduler="ddim",
                guidance=1.0,
                guidance_until=1.0,
                guidance_from=0.0,
            ),
        )
