"""How a model is named with what is added to it: `MODEL + student=FILE:KIND + tiny-decoder=FOLDER`.

One text, so that every part of the program passes it on as it is; `engines.models.load` opens it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WITH: Final = " + "
STUDENT: Final = "student="
TINY_DECODER: Final = "tiny-decoder="


@dataclass(frozen=True, slots=True)
class Source:
    """A model's name in its parts; empty where there is none."""

    model: str
    """All but the two below, LoRA files, a prior, and what completes a file included."""
    student: str = ""
    tiny_decoder: str = ""

    @staticmethod
    def read(text: str) -> Source:
        first, *added = text.split(WITH)
        found = {STUDENT: "", TINY_DECODER: ""}
        kept = [first]
        for one in added:
            option = next((name for name in found if one.startswith(name)), None)
            if option is None:
                kept.append(one)
            else:
                found[option] = one.removeprefix(option)
        return Source(WITH.join(kept), found[STUDENT], found[TINY_DECODER])

    def __str__(self) -> str:
        added = ((STUDENT, self.student), (TINY_DECODER, self.tiny_decoder))
        return WITH.join([self.model, *(name + value for name, value in added if value)])
