"""What can be certified: a bound on a metric, as a sentence that people and the judge both read.

adherence loss under 2 points     LPIPS under 0.1     HaarPSI loss under 0.1     PSNR of 30 dB or more
CLIP score loss under 1 point     CMMD under 0.1      DINO distance under 0.1
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from agent.candidate import Interval
from agent.errors import JudgeError
from agent.sandbox.limits import Isolation

LEAST_PROMPTS: Final = ((0.02, 200), (0.01, 1200))
"""For adherence: a claim of so many points needs at least so many fresh prompts (CONTRACTS, Statistics)."""

_UNDER: Final = re.compile(
    r"(adherence|lpips|haarpsi|clip|cmmd|dino)(?: score)?(?: loss| distance)?"
    r" under (\d+(?:\.\d+)?)( points?)?",
    re.IGNORECASE,
)
_PSNR: Final = re.compile(r"psnr (?:of|at least) ([\d.]+) ?db(?: or more)?", re.IGNORECASE)

Metric = Literal["adherence", "lpips", "haarpsi", "clip", "cmmd", "dino", "psnr"]
_METRICS: Final[Mapping[str, Metric]] = {
    "adherence": "adherence", "lpips": "lpips", "haarpsi": "haarpsi", "clip": "clip", "cmmd": "cmmd",
    "dino": "dino",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Claim:
    """`metric` stays below (`under`) or reaches (`least`) `bound`."""

    metric: Metric
    kind: Literal["under", "least"]
    bound: float

    def holds(self, found: Interval) -> bool:
        """Whether the one-sided 95 % bound supports the claim."""
        return found.high < self.bound if self.kind == "under" else found.low >= self.bound

    def prompts(self, wanted: int) -> int:
        """How many prompts the claim needs, at least."""
        if self.metric != "adherence":
            return wanted
        needed = 200
        for points, count in LEAST_PROMPTS:
            if self.bound <= points:
                needed = count
        return max(wanted, needed)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certification found."""

    claim: str
    held: bool
    prompts: int
    loss: Interval
    """The claim's metric with its one-sided 95 % bounds; for `psnr` in dB."""
    speedup: Interval | None = None
    note: str = ""
    isolation: Isolation | Literal[""] = ""
    """Behind which walls its script ran; empty: it did not run."""


def read_claim(text: str) -> Claim:
    """Understand a claim.

    Raises:
        JudgeError: it is none of the kinds above.
    """
    under = _UNDER.fullmatch(text.strip())
    if under:
        bound = float(under[2]) / (100 if under[3] else 1)
        return Claim(_METRICS[under[1].lower()], "under", bound)
    least = _PSNR.fullmatch(text.strip())
    if least:
        return Claim("psnr", "least", float(least[1]))
    raise JudgeError(
        f"The claim {text!r} cannot be certified; write for example 'adherence loss under 2 points' "
        "or 'PSNR of 30 dB or more'."
    )
