"""What goes with what, and why: `assets/knowledge/compatibility.toml`, read and checked once.

The rules cover this program's techniques and those of the field that it has
under another name or not at all; `engines.techniques.explain` answers from them.
"""

from __future__ import annotations

import difflib
import functools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from engines.errors import EngineError, TechniqueError
from engines.techniques.base import all_techniques
from engines.techniques.facts import knowledge_file

Verdict = Literal["no", "if", "yes"]
Basis = Literal["read", "inferred"]
Kind = Literal["technique", "method", "model", "device"]
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that a rule can name."""

    name: str
    """A technique's name, with a choice after a slash (`engine/openvino`); or a name of the file."""
    kind: Kind
    title: str
    place: float | None = None
    """Where it stands in a recipe; `None` for models and devices."""
    effect: str = ""
    here: str = ""
    """What this program has in its stead; empty for its own techniques."""
    sources: tuple[str, ...] = ()

    @property
    def technique(self) -> str:
        """The technique without its choice."""
        return self.name.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Rule:
    """Why two subjects do or do not go together; one subject, or every recipe, where the lists are empty."""

    number: int
    verdict: Verdict
    reason: str
    source: str
    basis: Basis
    first: frozenset[str] = frozenset()
    second: frozenset[str] = frozenset()
    unless: frozenset[str] = frozenset()

    def about(self, one: Subject, other: Subject) -> bool:
        """Whether it is about these two, in either order."""
        return (_in(one, self.first) and _in(other, self.second)) or (
            _in(other, self.first) and _in(one, self.second)
        )

    def about_alone(self, one: Subject, beside: tuple[Subject, ...]) -> bool:
        """Whether it is about this one whatever is beside it."""
        return (
            bool(self.first)
            and not self.second
            and _in(one, self.first)
            and not any(_in(other, self.unless) for other in beside)
        )


def _in(one: Subject, names: frozenset[str]) -> bool:
    return one.name in names or one.technique in names


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything in the file, and this program's own techniques."""

    subjects: Mapping[str, Subject]
    aliases: Mapping[str, str]
    rules: tuple[Rule, ...]

    def subject(self, word: str) -> Subject:
        """What a user's word means.

        Raises:
            TechniqueError: nothing here has that name; with the nearest ones that there are.
        """
        name = "-".join(word.lower().replace("dpm++", "dpmpp").replace("_", " ").split())
        name = self.aliases.get(name, name)
        if name in self.subjects:
            return self.subjects[name]
        known = [*self.subjects, *self.aliases]
        near = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
        if near:
            meant = " or ".join(
                f"{one} ({self.aliases[one]} here)" if one in self.aliases else one for one in near
            )
            raise TechniqueError(f"There is no technique {word!r}; did you mean {meant}?")
        names = ", ".join(kind.name for kind in all_techniques())
        raise TechniqueError(f"There is no technique {word!r}; this program has {names}.")


def parse(text: str) -> Rules:
    """Read the file's text.

    Raises:
        EngineError: not TOML, an unknown key, a missing one, or a name that nothing has.
    """
    try:
        data = tomllib.loads(text)
        if data.pop("schema") != SCHEMA:
            raise ValueError(f"schema must be {SCHEMA}")
        subjects = {one.name: one for one in _own()}
        for name, facts in data.pop("subject").items():
            if name in subjects:
                raise ValueError(f"{name} is a technique of this program and no subject")
            subjects[name] = _subject(name, facts)
        aliases = dict(data.pop("alias"))
        rules = tuple(_rule(one) for one in data.pop("rule"))
        if data:
            raise ValueError(f"unknown key {next(iter(data))}")
        for alias, name in aliases.items():
            if name not in subjects or alias in subjects:
                raise ValueError(f"the alias {alias} of {name}")
        for rule in rules:
            for name in rule.first | rule.second | rule.unless:
                if name not in subjects:
                    raise ValueError(f"rule {rule.number} is about {name}, which nothing is called")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(
            f"The rules of compatibility cannot be read ({error}); install Pareto Studio again."
        ) from error
    return Rules(subjects, aliases, rules)


def _own() -> Iterator[Subject]:
    """This program's techniques, and each with each of its choices."""
    for kind in all_techniques():
        yield Subject(kind.name, "technique", kind.title, kind.order)
        for parameter in kind.parameters:
            for choice in parameter.choices if parameter.kind == "choice" else ():
                label = kind(**{parameter.name: choice}).label()
                yield Subject(f"{kind.name}/{choice}", "technique", label, kind.order)


def _subject(name: str, data: Mapping[str, Any]) -> Subject:
    found = Subject(name=name, **{**data, "sources": tuple(data.get("sources", ()))})
    if found.kind not in get_args(Kind) or found.kind == "technique":
        raise ValueError(f"{name} is of the kind {found.kind}")
    if found.kind == "method" and not (found.place and found.effect and found.here and found.sources):
        raise ValueError(f"{name} needs a place, an effect, what is here and sources")
    return found


def _rule(data: Mapping[str, Any]) -> Rule:
    lists = {name: frozenset(data.get(name, ())) for name in ("first", "second", "unless")}
    found = Rule(**{**data, **lists})
    if found.verdict not in get_args(Verdict) or found.basis not in get_args(Basis):
        raise ValueError(f"rule {found.number} says {found.verdict}, {found.basis}")
    return found


@functools.cache
def rules() -> Rules:
    """The rules that ship with this installation."""
    path = knowledge_file().with_name("compatibility.toml")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        raise EngineError(
            "The rules of compatibility are not part of this installation; install Pareto Studio again."
        ) from None
    return parse(text)
