"""Small cascades for the tests of planning and simulation."""

from __future__ import annotations

import numpy as np

from studio.plan.profile import Device, Profile, per_image
from studio.plan.quality import QualityByPrompt, QualityByShare
from studio.plan.tables import Tables


def profile(name: str, first: float, each: float, sizes: tuple[int, ...] = (1, 2, 4, 8)) -> Profile:
    """`first` seconds for a batch and `each` for every picture in it."""
    return Profile(name, sizes, tuple(first + each * size for size in sizes))


def tables(
    workers: int = 8,
    *,
    prompts: int = 400,
    light: Profile | None = None,
    heavy: Profile | None = None,
    score_seconds: float = 0.005,
    load_seconds: float = 0.0,
    spread: float = 0.0,
    seed: int = 0,
) -> Tables:
    """A light model of 60 ms and a heavy one of 0.8 s; scores say something of which is better."""
    draw = np.random.default_rng(seed)

    def made(one: Profile) -> Profile:
        wide = tuple(spread * value for value in one.seconds) if spread else one.spread
        return Profile(one.name, one.batches, one.seconds, wide, load_seconds)

    first = made(light or profile("light", 0.04, 0.02))
    second = made(heavy or profile("heavy", 0.3, 0.5, (1, 2, 4)))
    ease = draw.random(prompts)
    return Tables(
        devices=(Device("worker", workers, first, second, per_image("score", score_seconds, first.largest)),),
        confidences=np.clip(ease + draw.normal(0, 0.2, prompts), 0, 1),
        quality=QualityByPrompt(
            "adherence",
            np.clip(0.5 + 0.5 * ease + draw.normal(0, 0.1, prompts), 0, 1),
            np.clip(draw.normal(0.92, 0.05, prompts), 0, 1),
        ),
    )


def with_dip() -> QualityByShare:
    """A table like FID's: the best is a mix."""
    return QualityByShare("FID", False, np.linspace(0, 1, 6), np.array([22.0, 19.0, 17.2, 16.8, 17.4, 18.5]))
