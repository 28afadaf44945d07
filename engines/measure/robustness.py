"""Whether a pipeline does what it is asked: other seeds and prompts, again, in batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from engines.measure.images import psnr

Pixels = NDArray[np.uint8]
Check = Literal["seeds", "prompts", "repeat", "batch"]
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


def check(drawn: Drawn, reference: Drawn | None = None) -> dict[Check, str]:
    """`ok` or a sentence for each check.

    Where the reference itself does not react to another prompt or seed, neither need the candidate.
    """
    found: dict[Check, str] = {"seeds": OK, "prompts": OK, "repeat": OK, "batch": OK}
    if _likeness(drawn.alone, drawn.other_seed) >= SAME_PSNR and not (
        reference and _likeness(reference.alone, reference.other_seed) >= SAME_PSNR
    ):
        found["seeds"] = (
            "Another seed gives the same picture: the seed is ignored or pictures are kept by prompt."
        )
    if _likeness(drawn.alone, drawn.other_prompt) >= SAME_PSNR and not (
        reference and _likeness(reference.alone, reference.other_prompt) >= SAME_PSNR
    ):
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
