"""Tables of a pair that was measured here: two candidates of a run and their discriminator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from studio.plan.cascade import Cascade
from studio.plan.profile import Device, Profile, per_image
from studio.plan.quality import QualityByPrompt
from studio.plan.tables import Tables


@dataclass(frozen=True, slots=True)
class Speed:
    """One candidate as its verdict has it."""

    name: str
    throughput: Mapping[int, float]
    """Images per second by batch size; empty where only single pictures were timed."""
    seconds: float | None = None
    """Of a single picture; `None`: as the cascade's own prompts took."""
    p90: float | None = None
    load_seconds: float = 0.0


def measured_tables(
    cascade: Cascade, light: Speed, heavy: Speed, *, workers: int = 1, device: str = "worker"
) -> Tables:
    """Profiles, confidences and quality of a measured pair.

    A single picture's time and 90th percentile are the verdict's, else those
    of the cascade's prompts; larger batches keep the verdict's ratio to a
    single picture.  The discriminator's time is taken per picture.
    """

    def profile(speed: Speed, seconds: list[float]) -> Profile:
        each = speed.seconds or float(np.mean(seconds))
        tail = speed.p90 if speed.seconds else float(np.quantile(seconds, 0.9))
        rates = {size: rate for size, rate in speed.throughput.items() if rate > 0}
        single = rates.get(1)
        times = {1: each}
        if single is not None:
            times |= {size: each * size * single / rate for size, rate in rates.items()}
        return Profile.measured(
            speed.name, times, p90={1: tail} if tail else None, load_seconds=speed.load_seconds
        )

    samples = cascade.samples
    first = profile(light, [one.light_seconds for one in samples])
    second = profile(heavy, [one.heavy_seconds for one in samples])
    pairs = cascade.pairs
    scorer = per_image("discriminator", cascade.discriminator_seconds, first.largest)
    return Tables(
        devices=(Device(device, workers, first, second, scorer),),
        confidences=pairs.scores,
        quality=QualityByPrompt(cascade.metric, pairs.light_quality, pairs.heavy_quality),
        title=f"{light.name} before {heavy.name}",
    )
