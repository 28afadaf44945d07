"""Why a combination of techniques works or does not, in which order, and what it should bring.

    explain("deepcache + cuda-graphs") -> Explanation

It answers from three places: the rules of compatibility, what techniques here
say about each other, and what they say about a model and a device.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from engines.backends.serves import SERVES
from engines.errors import TechniqueError
from engines.plan import Plan
from engines.techniques.base import Card, Export, Technique, is_met, technique
from engines.techniques.compatibility import canonical, plan_for
from engines.techniques.facts import knowledge
from engines.techniques.rules import Basis, Subject, Verdict, rules

Answer = Literal["yes", "if", "no", "unknown"]
_SEPARATOR: Final = re.compile(r"\s*(?:\+|,|&|\band\b)\s*")
_GPU: Final = ("turing", "ampere", "ada", "hopper", "blackwell")
_DENOISERS: Final[Mapping[str, str]] = {
    "dit": "PixArtTransformer2DModel",
    "flux": "FluxTransformer2DModel",
    "wan": "WanTransformer3DModel",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason."""

    between: tuple[str, ...]
    """The names that it is about."""
    verdict: Verdict
    reason: str
    source: str
    basis: Basis = "read"
    number: int | None = None
    """Of the rule; `None` where a technique said it itself."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What one part should bring; `factor` is a whole-pipeline speed-up, low and high, of the sources."""

    name: str
    title: str
    speed: str
    factor: tuple[float, float] | None
    quality: str
    sources: tuple[str, ...]
    here: str
    export: Export | Literal[""] = ""
    """Where it ends up in a package (`engines.techniques.base.Export`); empty for no technique."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer."""

    asked: tuple[str, ...]
    """The words as they were given."""
    names: tuple[str, ...]
    """What they are called here, in the same order."""
    answer: Answer
    """`unknown`: a method that is not here and that no rule speaks of with the others."""
    findings: tuple[Finding, ...]
    order: tuple[str, ...]
    order_reason: str
    effects: tuple[Effect, ...]
    device: str
    """The device that the answer is for: the one that was asked for, else the one that takes most of it."""
    model: str

    @property
    def together(self) -> tuple[float, float] | None:
        """The factors multiplied: what would come of it if nothing overlapped; `None` for less than two."""
        factors = [one.factor for one in self.effects if one.factor is not None]
        if len(factors) < 2 or self.answer == "no":
            return None
        return math.prod(low for low, _ in factors), math.prod(high for _, high in factors)


@dataclass(frozen=True, slots=True)
class _Part:
    kind: str
    groups: int = 32
    inner: int = 4096
    fusible: bool = True


@dataclass(frozen=True, slots=True)
class _AnyCard:
    """A model that has everything, for questions that name none."""

    denoiser: str = "UNet2DConditionModel"
    name: str = "any model"
    source: str = "any model"
    family: str = ""
    task: str = "text-to-image"
    size: int = 512
    steps: int = 50
    guidance: float = 7.5
    missing: tuple[str, ...] = field(default=("upscaler",))

    def component(self, name: str) -> _Part | None:
        own = "unet" if self.denoiser.startswith("UNet") else "transformer"
        if name in ("unet", "transformer"):
            return _Part(self.denoiser) if name == own else None
        return None if name in self.missing else _Part("any")


def words(text: str) -> tuple[str, ...]:
    """`deepcache + cuda-graphs` as its parts.

    Raises:
        TechniqueError: there is none.
    """
    plain = text.lower().replace("dpm++", "dpmpp")
    found = tuple(word.replace("dpmpp", "dpm++") for word in _SEPARATOR.split(plain) if word)
    if not found:
        raise TechniqueError("No technique was named; write for example 'deepcache + cuda-graphs'.")
    return found


def explain(text: str, card: Card | None = None, device: str | None = None) -> Explanation:
    """Answer for any number of techniques.

    `card` is the model that the answer is for (any one that has everything if
    not given), `device` the device.

    Raises:
        TechniqueError: a name that nothing has, one thing named twice, or an unknown device.
    """
    asked = words(text)
    subjects = tuple(rules().subject(word) for word in asked)
    _refuse_repeats(asked, subjects)
    if device is not None and device not in SERVES:
        raise TechniqueError(f"There is no device {device!r}; choose one of {', '.join(SERVES)}.")
    values = canonical([_value(one) for one in subjects if one.kind == "technique"])
    if card is None:
        card = _any_card(subjects, values)
    device = device or _device(subjects, values, card)
    findings = [*_by_rule(subjects), *_by_technique(values), *_by_model(values, card, device)]
    findings += _silent(subjects, findings)
    findings.sort(key=lambda one: get_args(Verdict).index(one.verdict))
    placed = sorted((one for one in subjects if one.place is not None), key=lambda one: one.place or 0)
    return Explanation(
        asked=asked,
        names=tuple(one.name for one in subjects),
        answer=_answer(subjects, findings),
        findings=tuple(findings),
        order=tuple(one.name for one in placed),
        order_reason=" ".join(rule.reason for rule in rules().rules if not rule.first),
        effects=tuple(_effect(one) for one in placed),
        device=device,
        model=card.name,
    )


def _refuse_repeats(asked: Sequence[str], subjects: Sequence[Subject]) -> None:
    pairs = itertools.combinations(zip(asked, subjects, strict=True), 2)
    for (word, one), (other_word, other) in pairs:
        if one.kind == "technique" and one.technique == other.technique:
            raise TechniqueError(
                f"{word} and {other_word} are both {one.technique} here, which stands in a recipe once; "
                "name one of them."
            )


def _value(one: Subject) -> Technique:
    kind, choice = technique(one.technique), one.name.partition("/")[2]
    for parameter in kind.parameters:
        for value in parameter.choices:
            if choice and str(value) == choice:
                return kind(**{parameter.name: value})
    return kind()


def _any_card(subjects: Sequence[Subject], values: Sequence[Technique]) -> Card:
    """Of the denoiser that is named, else a U-Net, or a transformer where something is for those alone."""
    named = [_DENOISERS[one.name] for one in subjects if one.name in _DENOISERS]
    usual = _AnyCard()
    asked = [need for one in values for need in one.needs if need.startswith(("kind:", "splits:"))]
    other = not all(is_met(need, usual, "cpu") for need in asked)
    return _AnyCard(named[0]) if named else _AnyCard(_DENOISERS["dit"]) if other else usual


def _device(subjects: Sequence[Subject], values: Sequence[Technique], card: Card) -> str:
    """The one that is named, else the first of those that refuse least."""
    named = {one.name for one in subjects if one.kind == "device"}
    if "directml" in named:
        return "directml"
    if named & set(_GPU) or "cuda-graphs" in {one.name for one in subjects}:
        return "cuda"
    refused = {
        device: sum(one.verdict == "no" for one in _by_model(values, card, device)) for device in SERVES
    }
    return min(refused, key=lambda device: refused[device])


def _by_rule(subjects: tuple[Subject, ...]) -> Iterator[Finding]:
    for rule in rules().rules:
        facts = (rule.verdict, rule.reason, rule.source, rule.basis, rule.number)
        for one in subjects:
            if rule.about_alone(one, subjects):
                yield Finding((one.name,), *facts)
        for one, other in itertools.combinations(subjects, 2):
            if rule.about(one, other):
                yield Finding((one.name, other.name), *facts)


def _by_technique(values: Sequence[Technique]) -> Iterator[Finding]:
    for rule in knowledge().exclusions:
        between = tuple(one.name for one in values if one.name in rule.between)
        if len(between) == 2:
            yield Finding(between, "no", rule.reason, rule.source)


def _by_model(values: Sequence[Technique], card: Card, device: str) -> Iterator[Finding]:
    for one in values:
        if reason := one.applies(card, device):
            yield Finding((one.name,), "no", reason, "the technique itself")
    plan: Plan = plan_for(card, device)
    for one in values:
        plan = one.apply(plan)
    engine = any(one.name == "engine" for one in values)
    for one in values:
        if reason := one.objection(plan):
            # without an engine in the question, one can be added
            yield Finding((one.name,), "no" if engine else "if", reason, "the technique itself")


def _silent(subjects: Sequence[Subject], findings: Sequence[Finding]) -> Iterator[Finding]:
    """Pairs with a technique of this program that nothing keeps apart."""
    spoken = {frozenset(one.between) for one in findings}
    refused = {one.between[0] for one in findings if len(one.between) == 1 and one.verdict == "no"}
    for one, other in itertools.combinations(subjects, 2):
        if refused & {one.name, other.name, one.technique, other.technique}:
            continue
        names = {one.name, other.name}, {one.technique, other.technique}
        kinds = {one.kind, other.kind}
        if "technique" not in kinds or "method" in kinds or any(frozenset(pair) in spoken for pair in names):
            continue
        first, second = sorted((one, other), key=lambda subject: subject.place or 0)
        text = f"Nothing keeps them apart: {first.name} is applied first, {second.name} to what it leaves."
        if kinds != {"technique"}:
            own, fixed = (one, other) if one.kind == "technique" else (other, one)
            text = f"Nothing is known that keeps {own.name} from {fixed.title}."
        yield Finding((one.name, other.name), "yes", text, "the techniques themselves")


def _answer(subjects: Sequence[Subject], findings: Sequence[Finding]) -> Answer:
    verdicts = {one.verdict for one in findings}
    if "no" in verdicts:
        return "no"
    spoken = {frozenset(one.between) for one in findings}
    pairs = (frozenset((one.name, other.name)) for one, other in itertools.combinations(subjects, 2))
    if any(pair not in spoken for pair in pairs):
        return "unknown"
    if "if" in verdicts:
        return "if"
    alone = len(subjects) == 1 and subjects[0].kind != "technique"
    return "unknown" if alone else "yes"


def _effect(one: Subject) -> Effect:
    if one.kind != "technique":
        return Effect(one.name, one.title, one.effect, None, "", one.sources, one.here)
    facts = knowledge().techniques[one.technique]
    export = technique(one.technique).export
    return Effect(one.name, one.title, facts.speed, facts.factor, facts.quality, facts.sources, "", export)
