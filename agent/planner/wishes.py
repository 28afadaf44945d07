"""What the built-in agent understands of a sentence: techniques and engines, wanted or not.

    "try without int8"              int8 is ruled out
    "use the tiny decoder"          it becomes part of every new candidate that can have it
    "only with OpenVINO"            the same, and no other engine is tried
    "only int8 and feature cache"   nothing but these is tried
    "allow int8 again"              an earlier sentence about it no longer counts
    "save memory"                   the techniques that save it and no time are used, as else they are not

Names are those of `pareto-studio explain`, other programs' among them.  Later sentences count more.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from agent.candidate import Recipe, Step
from agent.evolution.space import Check, Space
from agent.planner.context import Context
from agent.planner.words import title_of

Sense = Literal["without", "with", "only", "only with", "allow"]

_WORD: Final = re.compile(r"[a-z0-9][a-z0-9+]*(?:[.:][a-z0-9]+)*|[.;!?]")
_SENSES: Final[Mapping[str, Sense]] = {
    **dict.fromkeys(
        ("without", "no", "not", "never", "avoid", "except", "exclude", "excluding", "drop", "skip", "stop"),
        "without",
    ),
    **dict.fromkeys(("with", "use", "using", "try", "prefer", "keep", "add", "want"), "with"),
    "only": "only",
    **dict.fromkeys(("allow", "again"), "allow"),
}  # fmt: skip
_PHRASES: Final = (
    (re.compile(r"n['’]t\b"), " not"),
    (re.compile(r"\bnot only\b"), "with"),
    (re.compile(r"\bnothing (but|except)\b"), "only"),
    (re.compile(r"\b(instead of|rather than|leave out|leaving out)\b"), "without"),
    (re.compile(r"\b(save|saving|less|little|lower|reduce) memory\b"), "use vae tiling and vae slicing"),
)
"""Words that mean something else together."""
_BREAKS: Final = frozenset((".", ";", "!", "?", "but"))
_CHOSEN: Final[Mapping[str, tuple[str, ...]]] = {
    "engine": ("engine", "engines", "runtime"),
    "scheduler": ("scheduler", "solver", "sampler"),
}
"""Techniques whose choices go by their own names, and what stands beside those names."""
_NOWHERE: Final = "engine/torch"
"""What runs where no engine is chosen: it can neither be left out nor added."""

READS: Final = "without, no, not, avoid; with, use, only; allow"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What holds after all sentences.  A token is a technique, or one with its choice: `engine/openvino`."""

    without: frozenset[str] = frozenset()
    wanted: tuple[str, ...] = ()
    only: frozenset[str] = frozenset()
    """Nothing else is tried; empty: no such limit."""

    def forbids(self, step: Step) -> str:
        """The token that rules a step out; empty: none does."""
        tokens = _tokens(step)
        if out := next((one for one in tokens if one in self.without), ""):
            return out
        return step.technique if self.only and not self.only & set(tokens) else ""


def _tokens(step: Step) -> tuple[str, ...]:
    """A step's own name, and it with each of its choices."""
    chosen = (f"{step.technique}/{value}" for value in step.parameters.values())
    return (step.technique, *chosen)


def excluding(check: Check, wishes: Wishes, who: str) -> Check:
    """A check that also refuses what `who` has ruled out."""

    def checked(recipe: Recipe) -> list[str]:
        out = [token for step in recipe if (token := wishes.forbids(step))]
        return [f"{who} rules out {token}." for token in out] + list(check(recipe))

    return checked


def heeded(context: Context) -> Context:
    """The context under the user's sentences: what they rule out fits no more."""
    wishes = of_all(context.notes, context.space)
    if not (wishes.without or wishes.only):
        return context
    return replace(context, check=excluding(context.check, wishes, "The user"))


def of_all(sentences: Iterable[str], space: Space) -> Wishes:
    """What holds after these sentences, in order."""
    wishes = Wishes()
    for sentence in sentences:
        for sense, tokens in _clauses(sentence):
            wishes = _heard(wishes, sense, tokens, space)
    return wishes


def answer(sentence: str, space: Space) -> str:
    """What was understood of a sentence, in words; empty: nothing.

    `space` holds what can be tried at all with this model on this device.
    """
    said = []
    for sense, tokens in _clauses(sentence):
        here = [token for token in tokens if _known(token, space)]
        if here:
            said.append(_promise(sense, here))
        if absent := [token for token in tokens if token not in here]:
            said.append(f"{_start(_list(absent))} cannot be used with this model on this device.")
    return " ".join(said)


def lesson(space: Space) -> str:
    """What to say instead of a sentence of which nothing was understood."""
    names = [called(axis.technique) for axis in space.axes if axis.technique not in _CHOSEN]
    for technique in _CHOSEN:
        if space.has(technique):
            names += [called(space.token(option)) for option in space.options(technique)]
    return (
        "The built-in agent did not understand that. Say for example “without int8” or “only with OpenVINO”. "
        f"It reads {READS}; and these names: {', '.join(names)}."
    )


# -- reading -------------------------------------------------------------------------------------


@functools.cache
def _names() -> Mapping[tuple[str, ...], str]:
    """Every way to name a technique or one of its choices, as words, with its token."""
    from engines.techniques.rules import rules

    known = rules()
    found: dict[tuple[str, ...], str] = {}

    def add(text: str, token: str) -> None:
        words = _words(text.replace("-", " "))
        found.setdefault(words, token)
        for beside in _CHOSEN.get(token.partition("/")[0], ()) if "/" in token else ():
            found.setdefault((*words, beside), token)
            found.setdefault((beside, *words), token)

    for name, subject in known.subjects.items():
        technique, _, choice = name.partition("/")
        if subject.kind != "technique" or name == _NOWHERE or (choice and technique not in _CHOSEN):
            continue
        add(choice or name, name)
        add(subject.title, name)
    for alias, name in known.aliases.items():
        if known.subjects[name].kind == "technique":
            add(alias, name)
    for technique, others in _CHOSEN.items():
        for other in others:
            add(other, technique)
    return found


def _words(text: str) -> tuple[str, ...]:
    plain = text.lower().replace("dpmpp", "dpm++")
    for phrase, meant in _PHRASES:
        plain = phrase.sub(meant, plain)
    return tuple(_WORD.findall(plain))


def _pieces(sentence: str) -> Iterator[str]:
    """A sentence as tokens of techniques (with a leading `=`) and all other words."""
    words = _words(sentence.replace("-", " ").replace("_", " "))
    names = _names()
    longest = max(map(len, names))
    at = 0
    while at < len(words):
        for size in range(min(longest, len(words) - at), 0, -1):
            if (token := names.get(words[at : at + size])) is not None:
                yield f"={token}"
                at += size
                break
        else:
            yield words[at]
            at += 1


def _clauses(sentence: str) -> list[tuple[Sense, list[str]]]:
    """What is said of which techniques, in order.

    A "not" reaches over the next verb to the names behind it ("do not use int8").  A name that stands
    before such a word belongs to it where none follows ("int8 should not be used").
    """
    found: list[tuple[Sense, list[str]]] = []
    sense: Sense | None = None
    before: list[str] = []
    """Names of the clause before any such word."""
    named = False
    """Whether the sense in force has met a name."""
    for piece in (*_pieces(sentence), "."):
        if piece in _BREAKS:
            if sense is not None and not named and before:
                found.append((sense, before))
            sense, before, named = None, [], False
        elif piece.startswith("="):
            token = piece[1:]
            if sense is None:
                before.append(token)
                continue
            if named:
                found[-1][1].append(token)
            else:
                found.append((sense, [token]))
            named, before = True, []
        elif (new := _SENSES.get(piece)) is not None:
            if sense == "without" and not named:
                continue
            if new in ("only", "allow") and sense == "with" and named:
                # "with int8 only", "use int8 again": it is about what was named.
                found[-1] = (new, found[-1][1])
                continue
            # Only with it: wanted in every candidate, not alone in it.
            sense = "only with" if new == "with" and sense == "only" and not named else new
            named = False
    return [(meant, list(dict.fromkeys(tokens))) for meant, tokens in found]


def _known(token: str, space: Space) -> bool:
    technique, _, choice = token.partition("/")
    if not space.has(technique):
        return False
    return not choice or token in map(space.token, space.options(technique))


def _related(one: str, other: str) -> bool:
    """Whether two tokens are the same, or one is a choice of the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _without(tokens: Iterable[str], gone: Sequence[str]) -> list[str]:
    return [one for one in tokens if not any(_related(one, other) for other in gone)]


def _heard(wishes: Wishes, sense: Sense, tokens: Sequence[str], space: Space) -> Wishes:
    """The wishes after one more."""
    named = [token for token in tokens if _known(token, space)]
    if not named:
        return wishes
    out = frozenset(_without(wishes.without, named))
    wanted = tuple(_without(wishes.wanted, named))
    if sense == "without":
        return Wishes(out | set(named), wanted, frozenset(_without(wishes.only, named)))
    if sense == "only" and not all("/" in token for token in named):
        return Wishes(out, tuple(one for one in wanted if one in named), frozenset(named))
    only = wishes.only | set(named) if wishes.only else wishes.only
    if sense == "allow":
        return Wishes(out, wanted, only)
    # One technique takes one choice: the later one counts.
    taken = {token.partition("/")[0] for token in named}
    wanted = tuple(one for one in wanted if one.partition("/")[0] not in taken)
    if sense in ("only", "only with"):
        out |= {
            other
            for technique in taken.intersection(_CHOSEN)
            for option in space.options(technique)
            if (other := space.token(option)) not in named
        }
    return Wishes(out, (*wanted, *named), only)


# -- saying --------------------------------------------------------------------------------------


def called(token: str) -> str:
    """A token as a sentence names it."""
    from engines.techniques.rules import rules

    if token in _CHOSEN:
        return {"engine": "an engine", "scheduler": "another scheduler"}[token]
    return rules().subjects[token].title if "/" in token else title_of(token)


def _list(tokens: Sequence[str], joint: str = "and") -> str:
    names = [called(token) for token in tokens]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {joint} {names[-1]}"


def _start(text: str) -> str:
    """The beginning of a sentence; names of formats stay as they are written."""
    first = text.split()[0]
    return text if any(letter.isdigit() for letter in first) else text[:1].upper() + text[1:]


def _promise(sense: Sense, tokens: Sequence[str]) -> str:
    names = _list(tokens)
    match sense:
        case "without":
            return f"{_start(names)} will not be tried any more."
        case "allow":
            return f"{_start(names)} may be tried again."
        case "only" if not all("/" in token for token in tokens):
            return f"Nothing but {names} will be tried from now on."
    said = f"Every new candidate that can have {names} will have it"
    kinds = sorted({token.partition("/")[0] for token in tokens if "/" in token})
    if sense == "with" or not kinds:
        return f"{said}."
    return f"{said}; no other {' or '.join(kinds)} will be tried any more."
