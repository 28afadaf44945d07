"""The caption grammar of Tiny Scenes.

A *scene* is a time of day, a terrain, a weather, a drawing style and one or
two groups of objects.  A group is a count, a colour, a kind and a place.  A
caption with one object is *easy*; several objects, bound colours and counts
make it *hard*.

One part of the grammar is held out: no scene for which `is_held_out` is true
is ever drawn for training, so held-out captions measure composition.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

Split = Literal["train", "held_out", "any"]

TIMES: Final = ("day", "sunset", "night")
TERRAINS: Final = ("grass", "sand", "snow", "water")
WEATHERS: Final = ("clear", "cloudy", "rainy", "snowy")
STYLES: Final = ("flat", "ink", "pastel")
KINDS: Final = ("house", "tree", "car", "ball", "tent", "tower")
COLOURS: Final = ("red", "yellow", "green", "blue", "purple", "white")
PLACES: Final = ("left", "middle", "right")
COUNT_WORDS: Final = ("a", "two", "three")

HELD_OUT_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Group:
    """`count` objects of one kind and colour, standing together at one place."""

    count: int
    colour: str
    kind: str
    place: str

    def words(self) -> str:
        noun = self.kind if self.count == 1 else f"{self.kind}s"
        where = "in the middle" if self.place == "middle" else f"on the {self.place}"
        return f"{COUNT_WORDS[self.count - 1]} {self.colour} {noun} {where}"


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that a caption says about a picture."""

    time: str
    terrain: str
    weather: str
    style: str
    groups: tuple[Group, ...]

    @property
    def is_hard(self) -> bool:
        """More than one object: colours must be bound and objects counted."""
        return len(self.groups) > 1 or self.groups[0].count > 1

    @property
    def caption(self) -> str:
        """The caption, at most 30 tokens of the bundled tokenizer."""
        groups = " and ".join(group.words() for group in self.groups)
        return f"{groups}, {self.terrain}, {self.time}, {self.weather}, {self.style} drawing"


def is_held_out(scene: Scene) -> bool:
    """Whether this combination of object, colour, terrain and time is kept from training.

    A tenth of the 432 combinations is held out, chosen by hash so that the
    choice depends on nothing but the words.
    """
    return any(
        hashlib.sha256(f"{group.kind} {group.colour} {scene.terrain} {scene.time}".encode()).digest()[0]
        < 256 * HELD_OUT_SHARE
        for group in scene.groups
    )


def _sample_any(rng: np.random.Generator, hard: bool) -> Scene:
    def pick(values: tuple[str, ...]) -> str:
        return values[int(rng.integers(len(values)))]

    groups: tuple[Group, ...]
    if not hard:
        groups = (Group(1, pick(COLOURS), pick(KINDS), pick(PLACES)),)
    elif rng.random() < 1 / 3:
        groups = (Group(int(rng.integers(2, 4)), pick(COLOURS), pick(KINDS), pick(PLACES)),)
    else:
        groups = tuple(
            Group(int(rng.integers(1, 3)), pick(COLOURS), pick(KINDS), place) for place in ("left", "right")
        )
    return Scene(pick(TIMES), pick(TERRAINS), pick(WEATHERS), pick(STYLES), groups)


def sample(rng: np.random.Generator, *, split: Split = "train", hard: bool | None = None) -> Scene:
    """Draw one scene; `hard=None` draws easy and hard ones equally often."""
    while True:
        scene = _sample_any(rng, bool(rng.random() < 0.5) if hard is None else hard)
        if split == "any" or is_held_out(scene) == (split == "held_out"):
            return scene


def captions(count: int, seed: int, *, split: Split = "held_out", hard: bool | None = None) -> list[str]:
    """`count` different captions, the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found[sample(rng, split=split, hard=hard).caption] = None
    return list(found)


_GROUP: Final = re.compile(
    rf"\b(a|an|one|two|three)\s+({'|'.join(COLOURS)})\s+({'|'.join(KINDS)})s?"
    rf"(?:\s+(?:on|in|at)\s+the\s+({'|'.join(PLACES)}))?\b"
)
_COUNTS: Final = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3}


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a caption asks for; `None` and absent groups are not asked for."""

    time: str | None
    terrain: str | None
    weather: str | None
    style: str | None
    groups: tuple[Group, ...]

    def __len__(self) -> int:
        named = (self.time, self.terrain, self.weather, self.style)
        return sum(value is not None for value in named) + 3 * len(self.groups)


def parse(caption: str) -> Attributes:
    """Read the attributes that a caption names, in any order.

    A group without a place is taken to stand in the middle.  Words outside
    the grammar are ignored, so a free caption yields what it has in common
    with the grammar, possibly nothing (`len(...) == 0`).
    """
    text = " ".join(caption.lower().replace(",", " , ").split())
    groups = tuple(
        Group(_COUNTS[count], colour, kind, place or "middle")
        for count, colour, kind, place in _GROUP.findall(text)
    )
    rest = set(_GROUP.sub(" ", text).replace(",", " ").split())

    def named(values: tuple[str, ...]) -> str | None:
        found = [value for value in values if value in rest]
        return found[0] if len(found) == 1 else None

    return Attributes(named(TIMES), named(TERRAINS), named(WEATHERS), named(STYLES), groups[:2])


def vocabulary() -> list[str]:
    """Every word and mark that captions use, for the tokenizer."""
    words = {",", "and", "on", "in", "the", "drawing", "one", "an", *COUNT_WORDS}
    words |= {*TIMES, *TERRAINS, *WEATHERS, *STYLES, *COLOURS, *PLACES}
    words |= {*KINDS, *(f"{kind}s" for kind in KINDS)}
    return sorted(words)
