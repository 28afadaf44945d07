"""What a technique is: a frozen value that turns one plan into the next.

A technique is one file in this folder: a frozen dataclass, decorated with
`@register`, whose fields are described by its `parameters`.  That one table
feeds forms, the search space and the documentation.  What it needs and what it
excludes is data (`assets/knowledge/techniques.toml`), read when it registers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, Protocol, TypeVar

from engines.errors import TechniqueError
from engines.models.kinds import denoiser_kind
from engines.plan import Plan, Precision
from engines.techniques.facts import knowledge

Export = Literal["weights", "graph", "host-loop", "kernel", "data-dependent"]
"""Where a technique ends up in a package: weights and graph are baked into the engine files, the host loop is
named in the manifest, the kernel kind is applied again by the runtime.  What depends on the data is named in
the manifest as well and decided by the host loop, picture by picture, between engines for each branch."""
EXPORTS: Final[Mapping[Export, str]] = {
    "weights": "baked into the weights of the engine files",
    "graph": "baked into the graph of the engine files",
    "host-loop": "in the host loop, named in the manifest",
    "kernel": "applied again by the engine where the package runs",
    "data-dependent": "decided by the host loop from the data, between the engines of a package",
}
"""Each class in words."""
Value = int | float | str | bool


class ComponentLike(Protocol):
    @property
    def kind(self) -> str: ...
    @property
    def groups(self) -> int: ...
    @property
    def inner(self) -> int: ...
    @property
    def fusible(self) -> bool: ...


class Card(Protocol):
    """What techniques ask of a model card (`engines.models.card.Card`)."""

    @property
    def source(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def guidance(self) -> float: ...
    def component(self, name: str) -> ComponentLike | None: ...


class TargetLike(Protocol):
    @property
    def id(self) -> str: ...


Target = str | TargetLike
"""A device id such as `cpu`, or a value with an `id` (`engines.devices`)."""


class StepLike(Protocol):
    """One technique of a recipe as JSON values (`agent.candidate.Step`)."""

    @property
    def technique(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, Value]: ...


@dataclass(frozen=True, slots=True)
class Step:
    """What `to_step` makes: the JSON form of a technique."""

    technique: str
    parameters: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number or choice of a technique."""

    name: str
    kind: Literal["int", "float", "choice"]
    default: Value
    summary: str
    low: float | None = None
    high: float | None = None
    choices: tuple[Value, ...] = ()
    attribute: str = ""
    """The field that holds it, where that is not called like the parameter."""

    @property
    def field(self) -> str:
        return self.attribute or self.name

    def objection(self, value: object) -> str | None:
        """Why `value` is not allowed, as the end of a sentence; `None` where it is."""
        if self.kind == "choice":
            allowed = ", ".join(map(str, self.choices))
            return None if value in self.choices else f"has no {self.name} {value!r}; choose one of {allowed}"
        wanted, types = ("whole number", int) if self.kind == "int" else ("number", int | float)
        if isinstance(value, bool) or not isinstance(value, types):
            return f"needs a {wanted} for {self.name}, not {value!r}; choose one"
        assert self.low is not None
        assert self.high is not None
        if not self.low <= value <= self.high:
            return f"takes {self.name} from {self.low:g} to {self.high:g}, not {value}; choose one in between"
        return None


@dataclass(frozen=True)
class Technique(ABC):
    """Base of all techniques.

    Raises:
        TechniqueError: on construction, for a parameter outside its range.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    order: ClassVar[int]
    """Place in a recipe: weights, steps, graph, decoder, host loop, engine, precision."""
    export: ClassVar[Export]
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    """Requirements, see the knowledge file."""
    excludes: ClassVar[Mapping[str, str]] = {}
    """Other technique to the reason why it does not go with this one."""

    def __post_init__(self) -> None:
        for parameter in self.parameters:
            objection = parameter.objection(getattr(self, parameter.field))
            if objection:
                raise TechniqueError(f"{self.name} {objection}.")

    @classmethod
    def parameters_for(cls, card: Card) -> tuple[Parameter, ...]:
        """`parameters`, with ranges narrowed to what makes sense for a model."""
        del card
        return cls.parameters

    @abstractmethod
    def explain(self) -> str:
        """One sentence: what this value does, with its numbers."""

    @abstractmethod
    def label(self) -> str:
        """Two or three words for a plot or a table."""

    @abstractmethod
    def apply(self, plan: Plan) -> Plan:
        """The plan with this technique; the given one is not changed."""

    def applies(self, card: Card, target: Target) -> str | None:
        """Why this value is of no use for a model on a target; `None` where it is."""
        reasons = knowledge().techniques[self.name].needs
        for need in self.needs:
            if not is_met(need, card, device_of(target)):
                return reasons[need]
        return None

    @classmethod
    def idle_on(cls, device: str) -> str:
        """Why engines of this machine's `device` leave it out, as a sentence; empty where they do not."""
        del device
        return ""

    def objection(self, plan: Plan) -> str | None:
        """Why this value does not go with the rest of a finished plan; `None` where it does."""
        reasons = knowledge().techniques[self.name].needs
        for need in self.needs:
            kind, _, allowed = need.partition(":")
            if kind == "backend" and plan.backend not in allowed.split("|"):
                return reasons[need]
        return None


def precision_objection(precision: Precision, plan: Plan) -> str | None:
    """Why a plan's engine does not compute in a precision on the plan's device; its own words."""
    from engines.backends import backend

    reason = backend(plan.backend).objection(precision, plan.device)
    return f"{precision} is not to be had on {plan.device}: {reason}." if reason else None


def denoiser_of(card: Card) -> ComponentLike | None:
    """A model's denoiser; `None` where nothing is denoised."""
    parts = (card.component(name) for name in ("transformer", "unet", "prior"))
    return next((part for part in parts if part is not None), None)


def kind_of(card: Card) -> str:
    """The class of a model's denoiser; empty where nothing is denoised."""
    found = denoiser_of(card)
    return "" if found is None else found.kind


def device_of(target: Target) -> str:
    return target if isinstance(target, str) else target.id


def is_met(need: str, card: Card, device: str) -> bool:
    """Whether a model on a device has what a technique needs; of engines the plan is asked (`objection`)."""
    kind, _, value = need.partition(":")
    match kind:
        case "part":
            return card.component(value) is not None
        case "kind":
            return kind_of(card) in value.split("|")
        case "splits":
            adapter = denoiser_kind(kind_of(card))
            return adapter is not None and value in adapter.splits
        case "fusible":
            found = denoiser_of(card)
            return found is None or found.fusible
        case "denoises":
            return card.component("upscaler") is None
        case "prompts":
            return card.component("text_encoder") is not None
        case "guidance":
            # FLUX takes its guidance as an input: there is no second pass
            return card.guidance > 1 and kind_of(card) != "FluxTransformer2DModel"
        case "device":
            return device in value.split("|")
        case "backend":
            return True
    raise TechniqueError(f"The requirement {need!r} is not known; correct the facts about techniques.")


_REGISTERED: dict[str, type[Technique]] = {}
Registered = TypeVar("Registered", bound=type[Technique])


def register(kind: Registered) -> Registered:
    """Class decorator: give a technique its needs and exclusions and make it known by its name."""
    known = knowledge()
    if kind.name not in known.techniques:
        raise TechniqueError(
            f"There are no facts about {kind.name}; add them to assets/knowledge/techniques.toml."
        )
    if kind.name in _REGISTERED:
        raise TechniqueError(f"There are two techniques called {kind.name}; rename one.")
    kind.needs = tuple(known.techniques[kind.name].needs)
    kind.excludes = known.excludes(kind.name)
    _REGISTERED[kind.name] = kind
    return kind


def all_techniques() -> tuple[type[Technique], ...]:
    """Every registered technique, in the order of recipes."""
    return tuple(sorted(_REGISTERED.values(), key=lambda kind: (kind.order, kind.name)))


def technique(name: str) -> type[Technique]:
    """The technique of that name.

    Raises:
        TechniqueError: there is none.
    """
    try:
        return _REGISTERED[name]
    except KeyError:
        known = ", ".join(kind.name for kind in all_techniques())
        raise TechniqueError(f"There is no technique {name!r}; choose from {known}.") from None


def from_step(step: StepLike) -> Technique:
    """The value that a step of a recipe stands for; parameters not given take their defaults.

    Raises:
        TechniqueError: an unknown technique or parameter, or a value outside its range.
    """
    kind = technique(step.technique)
    names = [parameter.name for parameter in kind.parameters]
    unknown = [name for name in step.parameters if name not in names]
    if unknown:
        has = f"it has {' and '.join(names)}" if names else "it has none"
        raise TechniqueError(f"{kind.name} has no parameter {unknown[0]!r}; {has}.")
    defaults: dict[str, Any] = {parameter.name: parameter.default for parameter in kind.parameters}
    return kind(**{**defaults, **step.parameters})


def to_step(value: Technique) -> Step:
    """The inverse of `from_step`, every parameter written out."""
    return Step(value.name, {one.name: getattr(value, one.field) for one in value.parameters})


def values_of(recipe: Sequence[Technique | StepLike]) -> tuple[Technique, ...]:
    """A recipe as technique values, whether it came as values or as steps."""
    return tuple(one if isinstance(one, Technique) else from_step(one) for one in recipe)
