"""Which prompts and seeds a pair is asked for: the user's own, the run's, or fresh captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from studio.errors import CascadeError

if TYPE_CHECKING:
    from engines.models.model import Model
    from studio.record.events import RunStarted

LEAST_PROMPTS: Final = 24
MOST_PROMPTS: Final = 5000
LEAST_DIFFERENT: Final = 8
PRACTICE: Final = 4
"""Pictures of the light candidate alone, for each pair."""
SEEDS: Final = 1 << 41
"""Seeds and captions of their own: no prompt decides here that was judged on elsewhere with the same seed."""
PRACTICE_SEEDS: Final = 1 << 43
CAPTIONS: Final = 41_000


@dataclass(frozen=True, eq=False)
class Asked:
    """Prompts, their seeds, and whether they are hard, where the grammar says so; in one order."""

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    hard: tuple[bool | None, ...]

    @property
    def scenes(self) -> bool:
        """Whether the prompts come from the grammar of scenes."""
        return None not in self.hard


def ask(started: RunStarted, model: Model, prompts: Sequence[str] | None, count: int, seed: int) -> Asked:
    """`count` prompts, given ones used in turn with other seeds.

    Raises:
        CascadeError: too few or too many, or a model that has none of its own.
    """
    if not LEAST_PROMPTS <= count <= MOST_PROMPTS:
        raise CascadeError(f"{count} pairs cannot be used; ask for {LEAST_PROMPTS} to {MOST_PROMPTS}.")
    seeds = tuple(SEEDS + seed * 10_000 + at for at in range(count))
    given = tuple(text.strip() for text in prompts or started.workload.get("prompts") or () if text.strip())
    if given:
        if len(set(given)) < LEAST_DIFFERENT:
            raise CascadeError(
                f"A discriminator needs at least {LEAST_DIFFERENT} different prompts; give more."
            )
        return Asked(tuple(given[at % len(given)] for at in range(count)), seeds, (None,) * count)
    if model.prompt_source != "scenes":
        raise CascadeError(f"{model.name} has no prompts of its own; give a file with your prompts.")
    from engines.scenes.grammar import captions

    easy = captions(count - count // 2, CAPTIONS + seed, hard=False)
    hard = captions(count // 2, CAPTIONS + seed, hard=True)
    mixed = [text for both in zip(easy, hard, strict=False) for text in both] + easy[len(hard) :]
    is_hard = set(hard)
    return Asked(tuple(mixed), seeds, tuple(text in is_hard for text in mixed))


def practice_prompts(asked: Asked, seed: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Captions that no pair has, half of them hard, and their seeds: for pictures of light alone."""
    from engines.scenes.grammar import captions

    count = PRACTICE * len(asked.prompts)
    drawn = captions(count // 2, CAPTIONS + seed + 500, hard=False)
    drawn += captions(count - count // 2, CAPTIONS + seed + 500, hard=True)
    known = set(asked.prompts)
    prompts = tuple(text for text in dict.fromkeys(drawn) if text not in known)
    return prompts, tuple(PRACTICE_SEEDS + seed * 100_000 + at for at in range(len(prompts)))


def other_prompts(asked: Asked, seed: int, count: int) -> list[str]:
    """Prompts that no pair has; the pairs' own, with other seeds, where the grammar has no say."""
    if not asked.scenes:
        return [asked.prompts[at % len(asked.prompts)] for at in range(count)]
    from engines.scenes.grammar import captions

    known = set(asked.prompts)
    return [text for text in captions(2 * count, CAPTIONS + seed + 900) if text not in known][:count]
