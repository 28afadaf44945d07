"""The one joint space that a run searches: every technique on or off, and every number.

A recipe is a point of this space.  Numbers of techniques that are off are held
at their defaults, so that every trial has the same dimensions: a sampler whose
space changes between trials falls back to random without saying so.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, Protocol

from agent.candidate import Recipe, Step
from agent.errors import RecipeError

Value = int | float | str | bool
Structure = tuple[str, ...]
"""Names of the techniques of a recipe, in order, with each choice after a slash: `engine/openvino`."""

Check = Callable[[Recipe], Sequence[str]]
"""Every reason why a recipe does not fit; empty: it fits."""

FLOAT_STEPS: Final = 20
"""Floats are searched on at most this many steps of their range: finer differences are below the noise."""


class ParameterLike(Protocol):
    """What the space needs of `engines.techniques.Parameter`."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def low(self) -> Any: ...
    @property
    def high(self) -> Any: ...
    @property
    def choices(self) -> Sequence[Any]: ...
    @property
    def default(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in its own right, where no technique is at hand (tests, recorded tables)."""

    name: str
    kind: Literal["int", "float", "choice"]
    default: Value
    low: float | None = None
    high: float | None = None
    choices: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Axis:
    """One technique as the space sees it."""

    technique: str
    order: int = 0
    parameters: tuple[ParameterLike, ...] = ()
    neutral: Mapping[str, Value] = field(default_factory=dict)
    """Parameter values at which the technique changes nothing, so that the step is left out."""


def _resolution(parameter: ParameterLike) -> float:
    """The smallest round step (1, 2 or 5 times a power of ten) that is not finer than `FLOAT_STEPS`."""
    finest = (float(parameter.high) - float(parameter.low)) / FLOAT_STEPS
    ten: float = 10.0 ** math.floor(math.log10(finest))
    return next(ten * times for times in (1, 2, 5, 10) if ten * times >= finest * (1 - 1e-9))


def _settle(technique: str, parameter: ParameterLike, value: object) -> Value:
    """The nearest value that the parameter allows; raises `RecipeError` for a value outside its range."""
    if parameter.kind == "choice":
        if value not in parameter.choices:
            allowed = ", ".join(map(str, parameter.choices))
            raise RecipeError(f"{technique} has no {parameter.name} {value!r}; choose one of {allowed}.")
        assert isinstance(value, int | float | str)
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecipeError(f"{technique} needs a number for {parameter.name}, not {value!r}.")
    if not parameter.low <= value <= parameter.high:
        raise RecipeError(
            f"{technique} takes {parameter.name} from {parameter.low} to {parameter.high}, not {value}."
        )
    if parameter.kind == "int":
        return round(value)
    step = _resolution(parameter)
    low = float(parameter.low)
    return round(min(low + round((value - low) / step) * step, float(parameter.high)), 6)


@dataclass(frozen=True)
class Space:
    """Techniques with their parameters; turns recipes into points and back."""

    axes: tuple[Axis, ...]

    def axis(self, technique: str) -> Axis:
        """Raises `RecipeError` for an unknown technique."""
        if technique in self._by_name:
            return self._by_name[technique]
        known = ", ".join(axis.technique for axis in self.axes)
        raise RecipeError(f"There is no technique {technique!r} here; choose from {known}.")

    def has(self, technique: str) -> bool:
        return technique in self._by_name

    def step(self, technique: str, **values: Value) -> Step:
        """One technique with every parameter filled in and settled on the grid."""
        axis = self.axis(technique)
        names = {parameter.name for parameter in axis.parameters}
        if unknown := set(values) - names:
            raise RecipeError(f"{technique} has no parameter {min(unknown)!r}.")
        return Step(
            technique,
            {
                parameter.name: _settle(technique, parameter, values.get(parameter.name, parameter.default))
                for parameter in axis.parameters
            },
        )

    def canonical(self, recipe: Recipe) -> Recipe:
        """The one way to write a recipe: ordered, complete, without steps that change nothing.

        Raises:
            RecipeError: unknown technique or parameter, a value outside its range, or a technique twice.
        """
        steps: dict[str, Step] = {}
        for step in recipe:
            if step.technique in steps:
                raise RecipeError(f"{step.technique} stands twice in one recipe; keep one.")
            steps[step.technique] = self.step(step.technique, **dict(step.parameters))
        return tuple(
            steps[axis.technique]
            for axis in self.axes
            if axis.technique in steps and not self._is_neutral(steps[axis.technique])
        )

    def key(self, recipe: Recipe) -> str:
        """A text that is equal for equal recipes."""
        return key(self.canonical(recipe))

    def structure(self, recipe: Recipe) -> Structure:
        """Which techniques, and which choice of each: what is left when the numbers are taken away."""
        return tuple(map(self.token, self.canonical(recipe)))

    def token(self, step: Step) -> str:
        """A step without its numbers: `engine/openvino`, `student`."""
        return "/".join(
            [step.technique, *(str(step.parameters[name]) for name in self._choices[step.technique])]
        )

    @cached_property
    def _choices(self) -> dict[str, list[str]]:
        return {
            axis.technique: [parameter.name for parameter in axis.parameters if parameter.kind == "choice"]
            for axis in self.axes
        }

    @cached_property
    def _by_name(self) -> dict[str, Axis]:
        return {axis.technique: axis for axis in self.axes}

    @cached_property
    def all_options(self) -> tuple[Step, ...]:
        """Every technique with each of its choices, numbers at their defaults."""
        return tuple(option for axis in self.axes for option in self.options(axis.technique))

    def point(self, recipe: Recipe) -> dict[str, Value]:
        """Coordinates in the joint space; numbers of absent techniques at their defaults."""
        steps = {step.technique: step for step in self.canonical(recipe)}
        point: dict[str, Value] = {}
        for axis in self.axes:
            here = steps.get(axis.technique)
            point[axis.technique] = here is not None
            for parameter in axis.parameters:
                value = parameter.default if here is None else here.parameters[parameter.name]
                point[f"{axis.technique}.{parameter.name}"] = value
        return point

    def recipe(self, point: Mapping[str, Value]) -> Recipe:
        """The inverse of `point`."""
        return self.canonical(
            tuple(
                Step(
                    axis.technique,
                    {
                        parameter.name: point[f"{axis.technique}.{parameter.name}"]
                        for parameter in axis.parameters
                    },
                )
                for axis in self.axes
                if point[axis.technique]
            )
        )

    def distributions(self) -> dict[str, Any]:
        """The same space for Optuna, the same for every trial of a run."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        found: dict[str, Any] = {}
        for axis in self.axes:
            found[axis.technique] = CategoricalDistribution((False, True))
            for parameter in axis.parameters:
                name = f"{axis.technique}.{parameter.name}"
                if parameter.kind == "choice":
                    found[name] = CategoricalDistribution(tuple(parameter.choices))
                elif parameter.kind == "int":
                    found[name] = IntDistribution(
                        int(parameter.low), int(parameter.high), log=parameter.low >= 1
                    )
                else:
                    found[name] = FloatDistribution(float(parameter.low), float(parameter.high))
        return found

    def values(self, parameter: ParameterLike) -> list[Value]:
        """Every value that the search tries for a parameter."""
        if parameter.kind == "choice":
            return list(parameter.choices)
        if parameter.kind == "int":
            return list(range(int(parameter.low), int(parameter.high) + 1))
        step = _resolution(parameter)
        low, high = float(parameter.low), float(parameter.high)
        return [round(low + index * step, 6) for index in range(math.floor((high - low) / step + 1e-9) + 1)]

    def slice(self, recipe: Recipe, limit: int = 4096) -> Iterator[Recipe]:
        """Recipes of the same structure with every combination of numbers, at most `limit` of them.

        Beyond the limit, values are thinned out evenly, one parameter after the other.
        """
        steps = self.canonical(recipe)
        free: list[tuple[int, str, list[Value]]] = []
        for index, step in enumerate(steps):
            free += [
                (index, parameter.name, self.values(parameter))
                for parameter in self.axis(step.technique).parameters
                if parameter.kind != "choice"
            ]
        size = 1
        for _, _, values in free:
            size *= len(values)
        while size > limit:
            widest = max(range(len(free)), key=lambda at: len(free[at][2]))
            index, name, values = free[widest]
            if len(values) <= 2:  # four numbers with two values each are more than eight combinations
                thinner = values[:1]
            else:
                thinner = values[::2] if len(values) % 2 else [*values[::2], values[-1]]
            size = size // len(values) * len(thinner)
            free[widest] = (index, name, thinner)
        for combination in itertools.product(*(values for _, _, values in free)):
            changed = [dict(step.parameters) for step in steps]
            for (index, name, _), value in zip(free, combination, strict=True):
                changed[index][name] = value
            made = tuple(Step(step.technique, values) for step, values in zip(steps, changed, strict=True))
            if not any(self._is_neutral(step) for step in made):
                yield made

    def _is_neutral(self, step: Step) -> bool:
        neutral = self._by_name[step.technique].neutral
        return any(step.parameters.get(name) == value for name, value in neutral.items())

    def options(self, technique: str) -> list[Step]:
        """The technique once for each combination of its choices, numbers at their defaults."""
        choices = [parameter for parameter in self.axis(technique).parameters if parameter.kind == "choice"]
        found = []
        for combination in itertools.product(*(parameter.choices for parameter in choices)):
            values = {parameter.name: value for parameter, value in zip(choices, combination, strict=True)}
            step = self.step(technique, **values)
            if self.canonical((step,)):
                found.append(step)
        return found


def key(recipe: Recipe) -> str:
    """A text for a recipe that is canonical already."""
    return json.dumps([[step.technique, dict(sorted(step.parameters.items()))] for step in recipe])


def joint_space(card: Any, device: str = "cpu") -> Space:
    """The space over every technique of `engines` that can apply to a model on a device.

    `card` is an `engines.techniques.base.Card` whose steps and guidance are the workload's.
    """
    from engines.techniques.compatibility import search_space

    neutral: dict[str, dict[str, Value]] = {
        "engine": {"backend": "torch"},
        "guidance-cutoff": {"until": 1.0},
        "feature-cache": {"interval": 1},
        "token-merging": {"ratio": 0.0},
        "fewer-steps": {"steps": int(card.steps)},
    }
    axes = (
        Axis(one.name, one.order, tuple(one.parameters), neutral.get(one.name, {}))
        for one in search_space(card, device)
    )
    return Space(tuple(sorted(axes, key=lambda axis: (axis.order, axis.technique))))


def checker(card: Any, device: str = "cpu") -> Check:
    """Asks `engines.techniques.compatibility` for every reason why a recipe does not fit."""
    from engines.techniques.compatibility import check

    return lambda recipe: check(recipe, card, device)
