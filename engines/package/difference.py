"""What differs between two packages: facts of the manifest, files, and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engines.package.verify import Verified

_NUMBERS: Final = ("evidence", "calibration")
"""Parts of the facts that were measured."""
_NOT_FACTS: Final = ("verified_on", "golden", "wheels", "more_wheels")
"""Told in other words, or by the files."""


@dataclass(frozen=True, slots=True)
class Change:
    """One fact; `None` where a package does not have it."""

    name: str
    """Its place in the manifest, for example `host_loop.steps`."""
    a: Any
    b: Any


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything but the pictures."""

    recipe: tuple[Change, ...]
    """Techniques, by name, with their parameters."""
    facts: tuple[Change, ...]
    numbers: tuple[Change, ...]
    """Measured values."""
    variants: tuple[Change, ...]
    """Component and variant -> its content's address."""
    wheels: tuple[Change, ...]
    """By name -> version."""
    added: tuple[str, ...]
    """Files that only the second has."""
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether the packages are equal."""
        return not any((self.facts, self.recipe, self.numbers, self.added, self.removed, self.changed))


def difference(a: Verified, b: Verified) -> Difference:
    """From the first package to the second."""
    one, two = (found.manifest.additional_metadata.model_dump(mode="json", by_alias=True) for found in (a, b))
    facts = _changes(_flat(one), _flat(two))
    return Difference(
        recipe=_changes(_recipe(one), _recipe(two)),
        facts=tuple(
            change
            for change in facts
            if change.name.split(".")[0] not in (*_NUMBERS, *_NOT_FACTS, "techniques")
        ),
        numbers=tuple(change for change in facts if change.name.split(".")[0] in _NUMBERS),
        variants=_changes(_variants(a), _variants(b)),
        wheels=_changes(_wheels(one), _wheels(two)),
        added=tuple(sorted(b.digests.keys() - a.digests.keys())),
        removed=tuple(sorted(a.digests.keys() - b.digests.keys())),
        changed=tuple(
            sorted(name for name in a.digests.keys() & b.digests.keys() if a.digests[name] != b.digests[name])
        ),
    )


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    names = [*a, *(name for name in b if name not in a)]
    return tuple(Change(name, a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name))


def _flat(facts: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested facts by their dotted names; lists stay whole."""

    def walk(value: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
        for name, one in value.items():
            if isinstance(one, Mapping) and one:
                yield from walk(one, f"{above}{name}.")
            else:
                yield f"{above}{name}", one

    return dict(walk(facts, above))


def _recipe(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {str(one["technique"]): one["parameters"] for one in facts["techniques"]}


def _variants(found: Verified) -> dict[str, str]:
    return {
        f"{name} {key}": variant.variant_directory
        for name, component in found.manifest.components.items()
        for key, variant in component.variants.items()
    }


def _wheels(facts: Mapping[str, Any]) -> dict[str, str]:
    """By name; several versions where systems or variants need others."""
    found: dict[str, set[str]] = {}
    for one in [*facts["wheels"], *(one for some in facts["more_wheels"].values() for one in some)]:
        found.setdefault(str(one["name"]), set()).add(str(one["version"]))
    return {name: " and ".join(sorted(versions)) for name, versions in found.items()}
