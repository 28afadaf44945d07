"""Pictures that a model starts from: named by the prompt, or drawn from it.

A prompt for such a model is `picture.png` or `picture.png | what it shows`.
Where the first part names no file, a picture is drawn from the whole text, the
same one for the same text: time does not depend on what a picture shows, and
the same text can be compared on every engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import LoopError

SEPARATOR = " | "
_WAVES = 12


def split(prompt: str) -> tuple[str, str]:
    """The picture's name and what the prompt says of it."""
    name, found, text = prompt.partition(SEPARATOR)
    if found:
        return name.strip(), text.strip()
    return prompt, "" if _is_file(prompt) else prompt


def files(prompts: Iterable[str]) -> list[Path]:
    """The pictures that prompts name."""
    return [Path(name) for name in dict.fromkeys(split(prompt)[0] for prompt in prompts) if _is_file(name)]


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # a long prompt is no path
        return False


def read(prompt: str, size: tuple[int, int]) -> NDArray[np.float32]:
    """The prompt's picture, (3, H, W) in [-1, 1], of `size`; a file of another size is resampled.

    Raises:
        LoopError: the file is no picture.
    """
    name, _ = split(prompt)
    if not _is_file(name):
        return drawn(prompt, size)
    from PIL import Image

    try:
        with Image.open(name) as image:
            found = image.convert("RGB")
            if found.size != (size[1], size[0]):
                found = found.resize((size[1], size[0]), Image.Resampling.BICUBIC)
            pixels = np.asarray(found, dtype=np.float32)
    except (OSError, ValueError) as error:
        raise LoopError(f"{name} cannot be read as a picture ({error}); give a PNG or JPEG file.") from error
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) / 127.5 - 1.0, dtype=np.float32)


def drawn(text: str, size: tuple[int, int]) -> NDArray[np.float32]:
    """Overlaid waves of colour with a hard-edged disc, (3, H, W) in [-1, 1], decided by the text."""
    key = np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], dtype=np.uint64)
    rng = np.random.Generator(np.random.Philox(key=key))
    height, width = size
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    picture = np.zeros((3, height, width))
    for _ in range(_WAVES):
        along, across = rng.normal(0, 6, 2)
        wave = np.sin(2 * np.pi * (along * x + across * y) + rng.uniform(0, 2 * np.pi))
        picture += rng.normal(0, 1, 3)[:, None, None] * wave / np.hypot(along, across)
    centre, radius = rng.uniform(0.2, 0.8, 2), rng.uniform(0.1, 0.3)
    inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2
    picture = np.where(inside, rng.normal(0, 1, 3)[:, None, None], picture)
    eight_bit = np.round((np.tanh(picture) + 1.0) * 127.5)  # as a file would keep it
    return (eight_bit / 127.5 - 1.0).astype(np.float32)
