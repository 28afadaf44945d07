"""Which pairs are worth a person's judgement: those that the discriminator is least sure of."""

from __future__ import annotations

from collections.abc import Collection

from studio.plan.cascade import Cascade


def least_sure(cascade: Cascade, judged: Collection[tuple[str, int]], count: int = 12) -> tuple[int, ...]:
    """Indices of the samples to ask about next, least sure first.

    Uncertainty sampling (Lewis and Gale, 1994).
    `judged`: prompt and seed of those that were judged already.  Of equal
    prompts one is asked about at a time.
    """
    open_ones = [
        at for at, sample in enumerate(cascade.samples) if (sample.prompt, sample.seed) not in judged
    ]
    open_ones.sort(key=lambda at: abs(cascade.samples[at].score - 0.5))
    found: dict[str, int] = {}
    for at in open_ones:
        found.setdefault(cascade.samples[at].prompt, at)
    return tuple(list(found.values())[:count])
