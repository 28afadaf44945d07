"""What planners may know about techniques: facts, and which ones do not go together, with reasons.

The facts are data (`assets/knowledge/techniques.toml`); nothing is repeated here.
"""

from __future__ import annotations

from engines.techniques import all_techniques, technique
from engines.techniques.facts import Exclusion, Facts, knowledge

__all__ = ["Exclusion", "Facts", "conflicts", "facts", "summary"]


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
