"""What planners may know about techniques: facts, and which ones do not go together, with reasons.

The facts are data (`assets/knowledge/techniques.toml`); nothing is repeated here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from engines.techniques import all_techniques, technique
from engines.techniques.base import Card, kind_of
from engines.techniques.facts import Exclusion, Facts, knowledge
from engines.techniques.rules import Rule, Subject, rules

__all__ = ["Exclusion", "Facts", "compatibility", "conflicts", "facts", "summary"]


def facts(name: str) -> Facts:
    """What is known about a technique.

    Raises:
        TechniqueError: there is no technique of that name.
    """
    return knowledge().techniques[technique(name).name]


def conflicts(first: str, second: str) -> tuple[Exclusion, ...]:
    """Every rule that keeps two techniques apart, in either order; empty where they go together.

    Raises:
        TechniqueError: there is no technique of one of the names.
    """
    pair = frozenset((technique(first).name, technique(second).name))
    return tuple(rule for rule in knowledge().exclusions if rule.between == pair)


def summary() -> str:
    """Everything a planner needs to know, as text, techniques in the order of recipes."""
    lines = []
    for kind in all_techniques():
        known = facts(kind.name)
        lines.append(f"{kind.name}: {kind.summary}")
        for one in kind.parameters:
            values = ", ".join(map(str, one.choices)) if one.choices else f"{one.low:g} to {one.high:g}"
            lines.append(f"  {one.name} ({one.kind}, {values}, default {one.default}): {one.summary}")
        lines.append(f"  speed: {known.speed} Expected {known.factor[0]:g}x to {known.factor[1]:g}x.")
        lines.append(f"  quality ({known.risk} risk): {known.quality}")
        lines += [f"  needs {need}: {reason}" for need, reason in known.needs.items()]
        lines += [f"  not with {other}: {reason}" for other, reason in kind.excludes.items()]
        lines += [f"  limit: {limit}" for limit in known.limits]
    return "\n".join(lines)


def compatibility(names: Collection[str], card: Card, device: str) -> str:
    """The rules of compatibility that concern a model on a device, one line each; empty where none does.

    `names` are the techniques that can be used at all, and each with each choice (`engine/openvino`).  Rules
    about methods that are not here, other kinds of model and other devices are left out; of which of NVIDIA's
    generations a card is, the reader knows.
    """
    concerned = _kinds_of_model(card) | _devices(device)

    def here(name: str) -> Subject | None:
        one = rules().subjects[name]
        there = one.name in (names if one.kind == "technique" else concerned)
        return one if there else None

    def present(side: Collection[str]) -> list[Subject]:
        return sorted((one for one in map(here, side) if one is not None), key=lambda one: one.name)

    lines = []
    for rule in rules().rules:
        first, second = present(rule.first), present(rule.second)
        about = (first, second) if rule.second else (first,)
        told = all(about) and any(one.kind == "technique" for side in about for one in side)
        if told or not rule.first:
            lines.append(_line(rule, first, second))
    return "\n".join(lines)


def _line(rule: Rule, first: Collection[Subject], second: Collection[Subject]) -> str:
    """`- fp8 with an Ampere GPU, no: ...`"""
    sides = [", ".join(_word(one) for one in side) for side in (first, second) if side]
    about = " with ".join(sides) or "every recipe"
    sure = "" if rule.basis == "read" else " (inferred)"
    return f"- {about}, {_SAID[rule.verdict]}: {rule.reason}{sure}"


_SAID: Final[Mapping[str, str]] = {"no": "no", "if": "with care", "yes": "yes"}


def _word(one: Subject) -> str:
    return one.name if one.kind == "technique" else one.title


def _kinds_of_model(card: Card) -> set[str]:
    """What the rules call a model: `unet`, `sdxl`."""
    kind = kind_of(card)
    found = {"unet" if "UNet" in kind else "dit"} if kind else set()
    if "stable-diffusion-xl" in card.family:
        found.add("sdxl")
    found |= {name for name in ("flux", "wan") if kind.lower().startswith(name)}
    return found


def _devices(device: str) -> set[str]:
    if device == "cuda":
        return {"turing", "ampere", "ada", "hopper", "blackwell"}
    return {"directml"} if device in ("directml", "windowsml") else set()
