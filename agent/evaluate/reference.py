"""The reference: the baseline's pictures of the gate's prompts, kept in the run's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.candidate import Sample
from agent.evaluate.prompts import Asked
from agent.sandbox import Answer
from engines.paths import read_json, write_json

Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]
_FACTS: Final = "reference.json"
_BATCHES: Final = (2, 4)
"""Sizes at which the last pictures are drawn together, so that throughput costs no time of its own."""


@dataclass(frozen=True)
class Reference:
    """Pictures (N, H, W, 3), or clips (N, F, H, W, 3), with their prompts and seeds, and their adherence
    where it can be read."""

    asked: Asked
    images: Pixels
    adherence: Values | None
    seconds: tuple[float, ...]
    """Seconds for an image of every call of the workload's batch."""
    throughput: Mapping[int, float] = field(default_factory=dict)
    """Images per second of the calls of other batches."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds of the last call of the workload's batch."""


def parts(count: int, size: int) -> list[tuple[int, int]]:
    """Where each call starts and how many pictures it draws: the workload's batch, then a pair and a four."""
    together = _BATCHES if size == 1 and count >= 2 * sum(_BATCHES) else ()
    usual = count - sum(together)
    found = [(start, min(size, usual - start)) for start in range(0, usual, size)]
    for batch in together:
        found.append((usual, batch))
        usual += batch
    return found


def draw(
    baseline: Callable[[Asked], Answer], asked: Asked, size: int, tell: Callable[[int], None]
) -> Reference:
    """Have the baseline draw everything asked; `tell` hears how many pictures are done.

    Raises:
        BaselineError: the unchanged model does not run.
    """
    pictures, seconds, throughput = list[Pixels](), list[float](), dict[int, float]()
    stages: Mapping[str, float] = {}
    for start, count in parts(len(asked), size):
        tell(start)
        answer = baseline(asked.part(start, start + count))
        pictures.append(answer.images)
        if count in _BATCHES and size == 1:
            throughput[count] = count / answer.seconds
        else:
            seconds.append(answer.seconds / count)
            stages = answer.stages
    return Reference(asked, np.concatenate(pictures), None, tuple(seconds), throughput, dict(stages))


def save_pictures(folder: Path, name: str, images: Pixels, start: int = 0) -> list[str]:
    """Write RUN/images/NAME/NN.png, of clips NN/FFF.png; returns the (first) names inside the run folder.

    Raises:
        OSError: the disk is full or the folder is not writable.
    """
    from PIL import Image

    (folder / "images" / name).mkdir(parents=True, exist_ok=True)
    written = []
    for index, image in enumerate(images, start):
        path = Path("images") / name / f"{index:02}.png"
        if image.ndim == 3:
            Image.fromarray(image).save(folder / path)
        else:
            path = path.with_suffix("") / "000.png"
            (folder / path).parent.mkdir(exist_ok=True)
            for number, picture in enumerate(image):
                Image.fromarray(picture).save(folder / frame(path, number))
        written.append(path.as_posix())
    return written


def frame(first: Path, number: int) -> Path:
    """The file of a clip's frame, by the file of its first one."""
    return first.with_name(f"{number:03}.png")


def read_picture(first: Path, frames: int) -> Pixels:
    """A picture (H, W, 3), or with `frames` a clip (F, H, W, 3).

    Raises:
        OSError, ValueError: a file is missing or damaged.
    """
    from PIL import Image

    found = []
    for number in range(max(1, frames)):
        with Image.open(frame(first, number) if frames else first) as image:
            found.append(np.array(image.convert("RGB")))
    return np.stack(found) if frames else found[0]


def samples(
    asked: Asked,
    names: Sequence[str],
    metrics: Mapping[str, Values] | None = None,
    *,
    frames: int = 0,
    curves: Mapping[str, Values] | None = None,
    given: Sequence[str] = (),
) -> tuple[Sample, ...]:
    """One sample for each picture, with what was measured of it; values that do not exist are left out."""
    found = []
    for index, (prompt, seed, name) in enumerate(zip(asked.prompts, asked.seeds, names, strict=True)):
        numbers = {
            key: round(float(values[index]), 5)
            for key, values in (metrics or {}).items()
            if np.isfinite(values[index])
        }
        by_frame = {
            key: tuple(round(float(value), 5) for value in values[index])
            for key, values in (curves or {}).items()
            if np.isfinite(values[index]).all()
        }
        found.append(Sample(prompt, seed, name, numbers, frames, by_frame, given[index] if given else ""))
    return tuple(found)


def keep(folder: Path, name: str, key: str, reference: Reference) -> list[str]:
    """Write the reference so that a resumed run finds it; returns the pictures' names."""
    names = save_pictures(folder, name, reference.images)
    facts = {
        "key": key,
        "seconds": list(reference.seconds),
        "throughput": [list(pair) for pair in reference.throughput.items()],
        "stages": dict(reference.stages),
        "frames": count_frames(reference.images),
    }
    write_json(folder / "images" / name / _FACTS, facts)
    return names


def count_frames(images: Pixels) -> int:
    """Of clips; 0 for pictures."""
    return images.shape[1] if images.ndim == 5 else 0


def find(folder: Path, name: str, key: str, asked: Asked) -> Reference | None:
    """A reference kept for the same key; `None` where there is none or a picture is missing or damaged."""
    facts = read_json(folder / "images" / name / _FACTS)
    if not isinstance(facts, dict) or facts.get("key") != key:
        return None
    try:
        count, place = int(facts.get("frames", 0)), folder / "images" / name
        firsts = [f"{index:02}/000.png" if count else f"{index:02}.png" for index in range(len(asked))]
        images = np.stack([read_picture(place / first, count) for first in firsts])
    except (OSError, ValueError):
        return None
    return Reference(
        asked,
        images,
        None,
        tuple(float(value) for value in facts["seconds"]),
        {int(batch): float(rate) for batch, rate in facts["throughput"]},
        {str(stage): float(value) for stage, value in facts["stages"].items()},
    )
