"""What each picture of a pair is worth, and which prompts should therefore be deferred."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from studio.errors import CascadeError
from studio.plan.cascade import Likeness
from studio.work.cascade.models import READER
from studio.work.cascade.pictures import Album
from studio.work.cascade.prompts import Asked

if TYPE_CHECKING:
    from engines.models.model import Model
    from studio.work.cascade.network import Practice

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEAST_OF_A_LABEL: Final = 6
SPARED: Final = 4
"""How many times as long heavy must take for light pictures to be cheap."""
_TOGETHER: Final = 16
"""Pictures compared in one pass of a network."""
CALLED: Final[Mapping[Likeness, str]] = {"lpips": "1 - LPIPS", "haarpsi": "HaarPSI"}
"""What likeness is measured by, as people know it."""


@dataclass(frozen=True, eq=False)
class Quality:
    """Of light and heavy, (N,) each, and what it means."""

    metric: str
    light: Floats
    heavy: Floats
    notes: tuple[str, ...] = ()
    likeness: Likeness | None = None
    """By what, where the metric is likeness."""


def alike(by: Likeness, pictures: NDArray[np.uint8], heavy: NDArray[np.uint8]) -> Floats:
    """How like the heavy ones pictures (N, H, W, 3) are, (N,); 1 for the same."""
    from engines.measure.images import haarpsi, lpips

    if by == "haarpsi":
        return haarpsi(pictures, heavy)
    pieces = [slice(at, at + _TOGETHER) for at in range(0, len(pictures), _TOGETHER)]
    return 1 - np.concatenate([lpips(pictures[piece], heavy[piece]) for piece in pieces])


def measured(model: Model, asked: Asked, albums: tuple[Album, Album], *, readable: bool = True) -> Quality:
    """Adherence where the reader can say something of every prompt, else likeness to the heavy picture.

    `readable`: light and heavy both draw what the model's reader reads.

    Likeness is 1 - LPIPS where its weights are present, else HaarPSI.

    Raises:
        CascadeError: pictures that cannot be compared.
    """
    path = model.path / READER
    if path.is_file() and readable:
        from engines.scenes.reader import load_reader

        reader = load_reader(path)
        light, heavy = (reader.adherence(album.images, asked.prompts) for album in albums)
        if np.isfinite(light).all():
            return Quality("adherence", light, heavy)
    from engines.metrics_pack import place

    by: Likeness = "haarpsi" if place.find("lpips") is None else "lpips"
    light = alike(by, *(album.images for album in albums))
    if not np.isfinite(light).all():
        raise CascadeError("The pictures are too small to be compared; choose another pair.")
    why = "for these prompts" if readable else "of both models' pictures"
    note = (
        f"Adherence cannot be read {why}: quality is the likeness to the heavy picture "
        f"({CALLED[by]}), which measures difference and not worth."
    )
    notes = (note,) if by == "lpips" else (note, place.missing("lpips"))
    return Quality("likeness", light, np.ones_like(light), notes, by)


def labels(
    asked: Asked, quality: Quality, margin: float, own: dict[tuple[str, int], bool | None]
) -> tuple[Bools, float, int]:
    """Whether each prompt should be deferred (N,), the margin used, and how many labels are votes."""
    if quality.metric == "likeness":
        margin = float(1 - np.median(quality.light))
    defer = quality.heavy - quality.light > margin
    voted = 0
    for at, key in enumerate(zip(asked.prompts, asked.seeds, strict=True)):
        if key in own:
            # What cannot be told apart by eye is no reason to pay for the heavy picture.
            defer[at] = own[key] is True
            voted += 1
    return defer, margin, voted


def check(defer: Bools) -> None:
    """Raises `CascadeError` where nearly all labels are the same."""
    few = int(min(defer.sum(), (~defer).sum()))
    if few < LEAST_OF_A_LABEL:
        which = "hardly ever" if defer.sum() < len(defer) / 2 else "nearly always"
        raise CascadeError(
            f"The heavy model is {which} better (on {int(defer.sum())} of {len(defer)} prompts; "
            f"{LEAST_OF_A_LABEL} of either kind are needed), so there is nothing to decide; choose another "
            "pair or more prompts."
        )


def cheap_light(asked: Asked, albums: tuple[Album, Album], quality: Quality) -> bool:
    """Whether more pictures of light alone cost little and can be judged."""
    quick = SPARED * float(np.median(albums[0].seconds)) < float(np.median(albums[1].seconds))
    return quick and quality.metric == "adherence" and asked.scenes


def practice(
    model: Model,
    asked: Asked,
    quality: Quality,
    prompts: tuple[str, ...],
    images: NDArray[np.uint8],
    margin: float,
) -> Practice:
    """Light pictures with a guess of their label: heavy is as good as it is on the pairs' kind of caption."""
    from engines.scenes.grammar import parse
    from engines.scenes.reader import load_reader
    from studio.work.cascade.network import Practice

    own = load_reader(model.path / READER).adherence(images, prompts)
    groups = [parse(prompt).groups for prompt in prompts]
    many = np.array([len(each) > 1 or each[0].count > 1 for each in groups])
    hard = np.array([bool(one) for one in asked.hard])
    usual = [
        float(quality.heavy[hard == kind].mean()) if (hard == kind).any() else 1.0 for kind in (False, True)
    ]
    return Practice(images, prompts, np.where(many, usual[1], usual[0]) - own > margin)
