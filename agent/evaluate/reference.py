"""The reference: the baseline's pictures of the gate's prompts, kept in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.candidate import Sample
from agent.evaluate.prompts import Asked
from engines.paths import read_json, write_json

Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]
_FACTS: Final = "reference.json"


@dataclass(frozen=True)
class Reference:
    """Pictures (N, H, W, 3) with their prompts and seeds, their adherence where it can be read,
    and the seconds that each took."""

    asked: Asked
    images: Pixels
    adherence: Values | None
    seconds: tuple[float, ...]


def save_pictures(folder: Path, name: str, images: Pixels, start: int = 0) -> list[str]:
    """Write RUN/images/NAME/NN.png; returns the names inside the run folder.

    Raises:
        OSError: the disk is full or the folder is not writable.
    """
    from PIL import Image

    (folder / "images" / name).mkdir(parents=True, exist_ok=True)
    written = []
    for index, image in enumerate(images, start):
        path = Path("images") / name / f"{index:02}.png"
        Image.fromarray(image).save(folder / path)
        written.append(path.as_posix())
    return written


def samples(
    asked: Asked, names: Sequence[str], metrics: Mapping[str, Values] | None = None
) -> tuple[Sample, ...]:
    """One sample for each picture, with what was measured of it; values that do not exist are left out."""
    found = []
    for index, (prompt, seed, name) in enumerate(zip(asked.prompts, asked.seeds, names, strict=True)):
        numbers = {
            key: round(float(values[index]), 5)
            for key, values in (metrics or {}).items()
            if np.isfinite(values[index])
        }
        found.append(Sample(prompt, seed, name, numbers))
    return tuple(found)


def keep(folder: Path, name: str, key: str, reference: Reference) -> list[str]:
    """Write the reference so that a resumed run finds it; returns the pictures' names."""
    names = save_pictures(folder, name, reference.images)
    write_json(folder / "images" / name / _FACTS, {"key": key, "seconds": list(reference.seconds)})
    return names


def find(folder: Path, name: str, key: str, asked: Asked) -> Reference | None:
    """A reference kept for the same key; `None` where there is none or a picture is missing or damaged."""
    from PIL import Image

    facts = read_json(folder / "images" / name / _FACTS)
    if not isinstance(facts, dict) or facts.get("key") != key:
        return None
    try:
        paths = [folder / "images" / name / f"{index:02}.png" for index in range(len(asked))]
        pictures = []
        for path in paths:
            with Image.open(path) as image:
                pictures.append(np.array(image.convert("RGB")))
        images = np.stack(pictures)
    except (OSError, ValueError):
        return None
    return Reference(asked, images, None, tuple(float(value) for value in facts["seconds"]))
