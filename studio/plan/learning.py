"""How the discriminator's training went, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch of one of the networks that are trained."""

    stage: str
    """Which network: `practice`, `fold 1`, ..., `all pairs`, `real against generated`."""
    number: int
    """From 1."""
    learned: float
    """Mean loss (binary cross-entropy, classes balanced) on what is learned from, while it was learned."""
    held: float | None = None
    """Loss on pictures that this network does not learn from; `None` where there are none."""


def stages(epochs: tuple[Epoch, ...]) -> tuple[tuple[Epoch, ...], ...]:
    """Epochs by stage, in the order in which they came."""
    found: dict[str, list[Epoch]] = {}
    for epoch in epochs:
        found.setdefault(epoch.stage, []).append(epoch)
    return tuple(tuple(each) for each in found.values())
