"""How long a model takes by batch size, and the devices that it runs on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from studio.errors import PlanError

Floats = NDArray[np.float64]

_P90: Final = NormalDist().inv_cdf(0.9)


@dataclass(frozen=True, slots=True)
class Profile:
    """Seconds per batch of one model on one kind of device.

    Raises:
        PlanError: no batch size, or a number that no measurement can give.
    """

    name: str
    batches: tuple[int, ...]
    """Measured batch sizes, ascending."""
    seconds: tuple[float, ...]
    """Mean seconds for the whole batch."""
    spread: tuple[float, ...] = ()
    """Standard deviation in seconds; empty where it was not measured."""
    load_seconds: float = 0.0
    """What a worker needs to change to this model."""

    def __post_init__(self) -> None:
        if not self.batches:
            raise PlanError(
                f"The profile of {self.name} has no batch size; give at least the time of one image."
            )
        if len(self.batches) != len(self.seconds) or len(self.spread) not in (0, len(self.batches)):
            raise PlanError(f"The profile of {self.name} needs one time for each batch size.")
        if list(self.batches) != sorted(set(self.batches)) or self.batches[0] < 1:
            raise PlanError(f"The batch sizes of {self.name} must be whole numbers from 1, each given once.")
        if not all(math.isfinite(value) and value > 0 for value in self.seconds):
            raise PlanError(f"The times of {self.name} must be above 0; check its profile.")
        if not all(math.isfinite(value) and value >= 0 for value in (*self.spread, self.load_seconds)):
            raise PlanError(f"The spread and load times of {self.name} must be 0 or more; check its profile.")

    @classmethod
    def measured(
        cls,
        name: str,
        seconds: Mapping[int, float],
        *,
        p90: Mapping[int, float] | None = None,
        std: Mapping[int, float] | None = None,
        load_seconds: float = 0.0,
    ) -> Profile:
        """From tables by batch size; a 90th percentile becomes the spread of the normal that has it.

        Sizes without a percentile take the relative spread of the nearest size that has one.
        """
        sizes = tuple(sorted(seconds))
        known = {size: float(value) for size, value in (std or {}).items()}
        for size, value in (p90 or {}).items():
            if size in seconds:
                known.setdefault(size, max(0.0, (value - seconds[size]) / _P90))
        spread: tuple[float, ...] = ()
        if known:
            relative = {size: value / seconds[size] for size, value in known.items() if size in seconds}
            nearest = (
                {size: min(relative, key=lambda one: abs(one - size)) for size in sizes} if relative else {}
            )
            spread = tuple(relative[nearest[size]] * seconds[size] for size in sizes) if relative else ()
        return cls(name, sizes, tuple(float(seconds[size]) for size in sizes), spread, load_seconds)

    @property
    def largest(self) -> int:
        return self.batches[-1]

    def by_size(self) -> Floats:
        """Mean seconds for 0, 1, ... `largest` images, (largest + 1,); between sizes a straight line."""
        made = np.interp(np.arange(self.largest + 1), self.batches, self.seconds)
        made[0] = 0.0
        return made

    def variation(self) -> Floats:
        """Coefficient of variation for 0, 1, ... `largest` images; zeros where no spread was measured."""
        if not self.spread:
            return np.zeros(self.largest + 1)
        relative = np.divide(self.spread, self.seconds)
        return np.interp(np.arange(self.largest + 1), self.batches, relative)

    def at(self, batch: int, tail: float | None = None) -> float:
        """Seconds for a batch: the mean, or the quantile `tail` of a normal with the measured spread."""
        mean = float(np.interp(batch, self.batches, self.seconds))
        if tail is None or not self.spread:
            return mean
        return mean + max(0.0, NormalDist().inv_cdf(tail)) * float(
            np.interp(batch, self.batches, self.spread)
        )

    def scaled(self, factor: float) -> Profile:
        """The same on a device that takes `factor` times as long."""
        return replace(
            self,
            seconds=tuple(value * factor for value in self.seconds),
            spread=tuple(value * factor for value in self.spread),
        )


@dataclass(frozen=True, slots=True)
class Device:
    """One kind of worker: how many there are, and what both models take on it."""

    name: str
    workers: int
    light: Profile
    heavy: Profile
    discriminator: Profile | None = None
    """Scores the light pictures on the same worker, after each batch."""
    cost: float = 1.0
    """Of one worker for one hour, in any currency."""

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise PlanError(f"{self.name} has {self.workers} workers; give 0 or more.")
        if not (math.isfinite(self.cost) and self.cost >= 0):
            raise PlanError(f"The cost of {self.name} must be 0 or more.")

    def light_seconds(self, batch: int, tail: float | None = None) -> float:
        """The light model and the discriminator on a batch."""
        return self.light.at(batch, tail) + self.discriminator_seconds(batch, tail)

    def discriminator_seconds(self, batch: int, tail: float | None = None) -> float:
        return self.discriminator.at(batch, tail) if self.discriminator is not None else 0.0


def per_image(name: str, seconds: float, largest: int) -> Profile | None:
    """A profile of something that takes `seconds` for each image of a batch; `None` for no time at all."""
    if seconds <= 0:
        return None
    sizes = (1, largest) if largest > 1 else (1,)
    return Profile(name, sizes, tuple(seconds * size for size in sizes))
