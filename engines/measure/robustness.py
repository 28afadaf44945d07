"""Whether a pipeline does what it is asked: other seeds and prompts, again, in batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engines.measure.images import psnr

Pixels = NDArray[np.uint8]
OK: Final = "ok"
BATCH_PSNR: Final = 25.0
"""dB that a picture made alone must reach against the same one made in a batch; rounding moves it less."""
SAME_PSNR: Final = 45.0
"""dB above which two pictures count as the same one."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Pictures (H, W, 3) of two prompts and two seeds."""

    alone: Pixels
    """First prompt, first seed, by itself."""
    again: Pixels
    """The same request once more."""
    batched: Pixels
    """The same picture, made in a batch."""
    other_seed: Pixels
    other_prompt: Pixels


def _likeness(one: Pixels, other: Pixels) -> float:
    return float(psnr(one[None], other[None])[0])


def same(one: Pixels, other: Pixels) -> bool:
    """Whether two pictures (H, W, 3) are one, but for rounding."""
    return _likeness(one, other) >= SAME_PSNR


def check(drawn: Drawn) -> dict[str, str]:
    """`ok` or a sentence for each of `seeds`, `prompts`, `repeat` and `batch`."""
    found = {"seeds": OK, "prompts": OK, "repeat": OK, "batch": OK}
    if same(drawn.alone, drawn.other_seed):
        found["seeds"] = (
            "Another seed gives the same picture: the seed is ignored or pictures are kept by prompt."
        )
    if same(drawn.alone, drawn.other_prompt):
        found["prompts"] = "Another prompt gives the same picture: the prompt is ignored."
    repeated = _likeness(drawn.alone, drawn.again)
    if repeated < SAME_PSNR:
        found["repeat"] = (
            f"The same prompt and seed give another picture the second time ({repeated:.0f} dB)."
        )
    together = _likeness(drawn.alone, drawn.batched)
    if together < BATCH_PSNR:
        found["batch"] = (
            f"A picture made in a batch differs from the same one made alone ({together:.0f} dB)."
        )
    return found
