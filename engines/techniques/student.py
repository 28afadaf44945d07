"""The few-step student: a distilled adapter that draws in one to eight unguided steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines import students
from engines.plan import Plan
from engines.techniques.base import Card, Parameter, Target, Technique, register


@register
@dataclass(frozen=True)
class Student(Technique):
    """A student distilled from the guided trajectory (Salimans & Ho 2022, arXiv 2202.00512), merged.

    How it is solved is a fact of the model's student and no parameter: `engines.students`.
    """

    steps: int = 4

    name = "student"
    title = "Few-step student"
    summary = "Use the distilled student: a handful of steps without guidance."
    order = 10
    export = "weights"
    parameters = (
        Parameter("steps", "int", 4, "How many steps the student takes.", low=1, high=students.MOST_STEPS),
    )

    @classmethod
    def parameters_for(cls, card: Card) -> tuple[Parameter, ...]:
        made_for = _made_for(card)
        if made_for is None:
            return cls.parameters
        (steps,) = cls.parameters
        return (replace(steps, low=made_for, high=made_for, default=made_for),)

    def explain(self) -> str:
        return (
            f"The student's adapter is merged into the denoiser, which then draws in {self.steps} unguided "
            f"step{'s' if self.steps > 1 else ''} with the solver it was distilled for."
        )

    def label(self) -> str:
        return f"student {self.steps}"

    def apply(self, plan: Plan) -> Plan:
        solver, config = students.solved(plan.student, plan.loop.scheduler_config)
        return replace(
            plan,
            denoiser=replace(plan.denoiser, student=True),
            loop=replace(
                plan.loop.with_steps(self.steps),
                scheduler=solver,
                scheduler_config=config,
                # guidance that is a number inside the one pass (FLUX) is an input like others, and stays
                guidance=plan.loop.guidance if plan.loop.embedded_guidance else 1.0,
                guidance_until=1.0,
                guidance_from=0.0,
            ),
        )

    def applies(self, card: Card, target: Target) -> str | None:
        made_for = _made_for(card)
        if made_for not in (None, self.steps):
            return f"The student was distilled for {made_for} steps, not {self.steps}; take {made_for}."
        return super().applies(card, target)


def _made_for(card: Card) -> int | None:
    """The only number of steps that a model's student takes; `None`: any."""
    part = card.component("student_lora")
    return None if part is None else students.understood(part.kind).steps
