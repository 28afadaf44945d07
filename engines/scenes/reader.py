"""Read a scene's attributes off a picture, and say how many of a caption's are shown.

The *reader* is a small classifier trained on renders only; no generator is
trained on it, so *adherence* (the share of a caption's attributes that the
reader finds in the picture) is an independent measure of whether a model drew
what it was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.errors import ModelError
from engines.scenes.grammar import (
    COLOURS,
    KINDS,
    PLACES,
    STYLES,
    TERRAINS,
    TIMES,
    WEATHERS,
    Attributes,
    Group,
    Scene,
    parse,
)

SIZE: Final = 64
"""Height and width in pixels that the reader sees."""
NONE: Final = "none"
IGNORED: Final = -100
"""Target of an attribute that a caption leaves open (`ignore_index` of torch's cross-entropy)."""

GLOBALS: Final[dict[str, tuple[str, ...]]] = {
    "time": TIMES,
    "terrain": TERRAINS,
    "weather": WEATHERS,
    "style": STYLES,
}
HEADS: Final[dict[str, tuple[str, ...]]] = {
    **GLOBALS,
    **{f"{place}_kind": (NONE, *KINDS) for place in PLACES},
    **{f"{place}_colour": (NONE, *COLOURS) for place in PLACES},
    **{f"{place}_count": ("0", "1", "2", "3") for place in PLACES},
}
"""Classes by head: four attributes of the whole picture, three of each place."""


class _Block(nn.Module):
    """Two 3x3 convolutions with a shortcut; halves height and width where `stride` is 2."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.GroupNorm(8, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.GroupNorm(8, outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(hidden)) + self.shortcut(x))


class ReaderNetwork(nn.Module):
    """Pictures (B, 3, 64, 64) in [-1, 1] to logits (B, classes) for each of `HEADS`; 0.9 M parameters."""

    def __init__(self, widths: Sequence[int] = (24, 48, 96, 192), dropout: float = 0.1) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 5, 2, 2)
        self.stages = nn.Sequential(
            *(
                _Block(inputs, outputs, 1 if index == 0 else 2)
                for index, (inputs, outputs) in enumerate(zip((widths[0], *widths[:-1]), widths, strict=True))
            )
        )
        self.dropout = nn.Dropout(dropout)
        # Places matter, so the (C, 4, 4) map is read flat and not pooled.
        self.heads = nn.Linear(widths[-1] * 16, sum(len(classes) for classes in HEADS.values()))

    def features(self, pixels: Tensor) -> Tensor:
        """What the heads read, (B, 3072): 192 features at 4 x 4 places."""
        hidden: Tensor = self.stages(torch.relu(self.stem(pixels)))
        return hidden.flatten(1)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        logits = self.heads(self.dropout(self.features(pixels)))
        parts = torch.split(logits, [len(classes) for classes in HEADS.values()], dim=1)
        return dict(zip(HEADS, parts, strict=True))


def targets(scene: Scene | Attributes) -> dict[str, int]:
    """The class index of every head for a scene.

    A `Scene` says everything; of parsed `Attributes` what is left open becomes
    `IGNORED`, except that a place without a group is empty.
    """
    encoded = {
        name: classes.index(value) if (value := getattr(scene, name)) is not None else IGNORED
        for name, classes in GLOBALS.items()
    }
    groups = {group.place: group for group in scene.groups}
    for place in PLACES:
        group = groups.get(place)
        encoded[f"{place}_kind"] = 0 if group is None else 1 + KINDS.index(group.kind)
        encoded[f"{place}_colour"] = 0 if group is None else 1 + COLOURS.index(group.colour)
        encoded[f"{place}_count"] = 0 if group is None else group.count
    return encoded


@dataclass(frozen=True, slots=True)
class Reading:
    """What the reader sees: a value for each of `HEADS` (`none` and `0` for an empty place)."""

    values: Mapping[str, str]

    @property
    def groups(self) -> tuple[Group, ...]:
        """The places at which kind, colour and count are all seen."""
        found = []
        for place in PLACES:
            kind, colour = self.values[f"{place}_kind"], self.values[f"{place}_colour"]
            count = int(self.values[f"{place}_count"])
            if NONE not in (kind, colour) and count:
                found.append(Group(count, colour, kind, place))
        return tuple(found)

    def share(self, asked: Attributes) -> float:
        """Share of the asked attributes that are seen; NaN where nothing is asked."""
        if not len(asked):
            return float("nan")
        named = [(name, getattr(asked, name)) for name in GLOBALS]
        hits = sum(value is not None and self.values[name] == value for name, value in named)
        for group in asked.groups:
            hits += self.values[f"{group.place}_kind"] == group.kind
            hits += self.values[f"{group.place}_colour"] == group.colour
            hits += self.values[f"{group.place}_count"] == str(group.count)
        return float(hits / len(asked))


class Reader:
    """A trained reader, ready to use on the CPU."""

    def __init__(self, network: ReaderNetwork, batch: int = 64) -> None:
        self.network = network.eval()
        self.batch = batch

    def read(self, images: NDArray[np.uint8]) -> list[Reading]:
        """Read pictures (N, H, W, 3) of any size."""
        found: dict[str, list[int]] = {name: [] for name in HEADS}
        with torch.inference_mode():
            for start in range(0, len(images), self.batch):
                logits = self.network(_pixels(images[start : start + self.batch]))
                for name, values in logits.items():
                    found[name] += values.argmax(1).tolist()
        return [
            Reading({name: classes[found[name][i]] for name, classes in HEADS.items()})
            for i in range(len(images))
        ]

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """What the network sees in pictures (N, H, W, 3), before it names anything: (N, 3072)."""
        parts = [images[start : start + self.batch] for start in range(0, len(images), self.batch)]
        with torch.inference_mode():
            found = [self.network.features(_pixels(part)).double().numpy() for part in parts]
        return np.concatenate(found)

    def adherence(self, images: NDArray[np.uint8], captions: Sequence[str]) -> NDArray[np.float64]:
        """Share (N,) of each caption's attributes that its picture shows; NaN where it names none."""
        asked = [parse(caption) for caption in captions]
        seen = self.read(images)
        return np.array([reading.share(wish) for reading, wish in zip(seen, asked, strict=True)])


def _pixels(images: NDArray[np.uint8]) -> Tensor:
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    if pixels.shape[2:] != (SIZE, SIZE):
        pixels = nn.functional.interpolate(pixels, (SIZE, SIZE), mode="area")
    return pixels


def load_reader(path: Path) -> Reader:
    """Load a trained reader from a `.safetensors` file.

    Raises:
        ModelError: no such file, or not the weights of a reader.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ModelError(f"There is no attribute reader at {path}; adherence cannot be measured without it.")
    network = ReaderNetwork()
    try:
        weights = load_file(path)
        network.load_state_dict({name: value.float() for name, value in weights.items()})
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelError(
            f"{path} does not hold the weights of an attribute reader; restore the file from the release."
        ) from error
    return Reader(network)
