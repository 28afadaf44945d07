"""Whether a recipe fits a model, a target and itself; and the space that recipes come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from engines.backends.serves import plain_engine, plain_precision
from engines.errors import TechniqueError
from engines.hostloop.settings import LoopSettings
from engines.plan import Plan
from engines.techniques.base import (
    Card,
    Parameter,
    StepLike,
    Target,
    Technique,
    all_techniques,
    device_of,
    values_of,
)

Recipe = Sequence[Technique | StepLike]
"""Technique values, or steps of an `agent.candidate.Recipe`."""


def canonical(recipe: Recipe) -> tuple[Technique, ...]:
    """The one way to write a recipe: values, sorted by their order.

    Raises:
        TechniqueError: a technique twice, unknown, or with a value outside its range.
    """
    values = values_of(recipe)
    for name, count in Counter(one.name for one in values).items():
        if count > 1:
            raise TechniqueError(f"{name} stands twice in one recipe; keep one.")
    return tuple(sorted(values, key=lambda one: (one.order, one.name)))


def check(recipe: Recipe, card: Card, target: Target = "cpu") -> list[str]:
    """Every reason why a recipe does not fit; an empty list where it does.

    Steps and guidance are the card's own; where a workload asks for others,
    pass the card with these replaced.
    """
    try:
        values = canonical(recipe)
    except TechniqueError as error:
        return [str(error)]
    return check_plan(values, plan_for(card, target), card, target)


def check_plan(recipe: Sequence[Technique], plan: Plan, card: Card, target: Target = "cpu") -> list[str]:
    """`check` for technique values and the plan that they are to be applied to."""
    reasons = [reason for one in recipe if (reason := one.applies(card, target))]
    for index, one in enumerate(recipe):
        reasons += [
            f"{other.name} and {one.name}: {one.excludes[other.name]}"
            for other in recipe[:index]
            if other.name in one.excludes
        ]
    for one in recipe:
        plan = one.apply(plan)
    return reasons + [reason for one in recipe if (reason := one.objection(plan))]


def plan_for(card: Card, target: Target) -> Plan:
    """A plan with the card's steps and guidance, to try a recipe on; it is never run."""
    side = max(1, card.size // 8)
    loop = LoopSettings("ddim", {}, card.steps, card.guidance, (4, side, side), 77, 0, 0, 0)
    device = device_of(target)
    return Plan(
        model=card.source,
        device=device,
        loop=loop,
        backend=plain_engine(device),
        precision=plain_precision(device),
    )


@dataclass(frozen=True, slots=True)
class Axis:
    """One technique of the search space, its ranges narrowed to the model."""

    name: str
    order: int
    parameters: tuple[Parameter, ...]


def search_space(card: Card, target: Target = "cpu") -> tuple[Axis, ...]:
    """The one joint space for a model on a target: every technique that can apply, and every number.

    A point gives each technique a switch and each parameter a value, those of
    techniques that are off at their defaults.
    """
    axes = []
    for kind in all_techniques():
        parameters = tuple(_allowed(kind, parameter, card, target) for parameter in kind.parameters_for(card))
        usable = all(one.choices or one.kind != "choice" for one in parameters)
        if usable and kind(**{one.name: one.default for one in parameters}).applies(card, target) is None:
            axes.append(Axis(kind.name, kind.order, parameters))
    return tuple(axes)


def _allowed(kind: type[Technique], parameter: Parameter, card: Card, target: Target) -> Parameter:
    """The parameter with only those choices that apply."""
    if parameter.kind != "choice":
        return parameter
    choices = tuple(
        choice
        for choice in parameter.choices
        if kind(**{parameter.name: choice}).applies(card, target) is None
    )
    default = parameter.default if parameter.default in choices else next(iter(choices), parameter.default)
    return replace(parameter, choices=choices, default=default)
