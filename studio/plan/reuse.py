"""What can be done with a deferred prompt, as measured on the pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from studio.plan.deferral import Interval

Kind = Literal["heavy", "light", "strength", "attention", "eager"]
"""Heavy from the start; the light picture handed back; heavy started from the light latent; heavy with the
light model's cross-attention maps; heavy from the start in eager mode, which the maps compare with."""
Through = Literal["latents", "pixels"]
"""How the light picture reaches heavy: pixels where the autoencoders differ, or where it was asked for."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One option, measured on the same deferred prompts as the others."""

    kind: Kind
    title: str
    strength: float | None
    """Of the noise put on the light latent, where one is started from."""
    steps: int
    """Of the heavy model."""
    quality: Interval
    seconds: Interval
    """Beside the light picture and the decision, which every prompt pays."""
    against: Interval
    """Quality minus that of the arm it is paired with: heavy from the start (of maps: eager heavy)."""
    images: tuple[str, ...] = ()
    """PNGs of the first prompts, relative to the run folder."""


@dataclass(frozen=True, slots=True)
class Reuse:
    """All options side by side."""

    share: float
    """The deferred share whose prompts were taken."""
    through: Through
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    notes: tuple[str, ...] = ()

    @property
    def curve(self) -> tuple[Arm, ...]:
        """By strength: what starts from the light latent, then heavy from the start."""
        late = sorted(
            (arm for arm in self.arms if arm.kind == "strength"), key=lambda arm: arm.strength or 0.0
        )
        return (*late, *(arm for arm in self.arms if arm.kind == "heavy"))

    def best(self, margin: float) -> Arm | None:
        """The quickest start from the light latent shown to keep heavy's quality within the margin."""
        whole = next(arm for arm in self.arms if arm.kind == "heavy")
        safe = [
            arm
            for arm in self.arms
            if arm.kind == "strength"
            and arm.against.low >= -margin
            and arm.seconds.value < whole.seconds.value
        ]
        return min(safe, key=lambda arm: arm.seconds.value, default=None)

    def verdict(self, margin: float) -> str:
        """Whether starting from what light made is shown to be worth it, as a sentence."""
        whole = next(arm for arm in self.arms if arm.kind == "heavy")
        best = self.best(margin)
        if best is None:
            return (
                f"No strength is shown to keep the heavy model's quality within {margin * 100:.3g} points in "
                "less time: start heavy from the beginning."
            )
        saved = 1 - best.seconds.value / whole.seconds.value
        start = "latent" if self.through == "latents" else "picture, through pixels,"
        return (
            f"Started from the light {start} at strength {best.strength:.2g}, heavy takes {saved:.0%} less "
            f"time; its quality is at most {max(-best.against.low, 0) * 100:.1f} points below heavy "
            f"from the start (95 %, {len(self.prompts)} prompts)."
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Reuse:
        """The inverse of `dataclasses.asdict`.

        Raises:
            KeyError, TypeError: anything else.
        """
        arms = tuple(
            Arm(
                **{
                    **one,
                    **{name: Interval(**one[name]) for name in ("quality", "seconds", "against")},
                    "images": tuple(one["images"]),
                }
            )
            for one in data["arms"]
        )
        lists = {name: tuple(data[name]) for name in ("prompts", "seeds", "notes")}
        return cls(**{**data, **lists, "arms": arms})
