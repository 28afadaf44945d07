"""Schedulers that add fresh noise after each step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from . import schedule
from .errors import LoopError
from .scheduler import Latent, Scheduler


def _needed(noise: Latent | None, name: str) -> Latent:
    if noise is None:
        raise LoopError(f"The scheduler {name} needs noise between steps; pass step_noise for each latent.")
    return noise


class EulerAncestral(Scheduler):
    """Ancestral sampling with Euler steps, as SDXL-Turbo ships it (k-diffusion, `sample_euler_ancestral`)."""

    predictions: ClassVar[tuple[str, ...]] = ("epsilon", "v_prediction")

    def __init__(self, config: Mapping[str, Any], steps: int) -> None:
        super().__init__(config, steps)
        visited = schedule.visited(self.config, steps, one_more=False, rounded=False)
        self.timesteps = visited.astype(np.float32)
        every = schedule.training_sigmas(self.config)
        found = np.append(np.interp(visited, np.arange(len(every)), every), 0.0)
        self._sigmas = [float(sigma) for sigma in found]
        largest = max(self._sigmas)
        leading = self.config["timestep_spacing"] == "leading"
        self.start_scale = math.sqrt(largest**2 + 1.0) if leading else largest

    def mixture(self, step: int) -> tuple[float, float]:
        return 1.0, self._sigmas[step]

    def scale(self, sample: Latent, step: int) -> Latent:
        return sample / math.sqrt(self._sigmas[step] ** 2 + 1.0)

    def wants_noise(self, step: int) -> bool:
        return self._sigmas[step + 1] > 0

    def advance(self, prediction: Latent, step: int, sample: Latent, noise: Latent | None = None) -> Latent:
        sigma, after = self._sigmas[step], self._sigmas[step + 1]
        if self.config["prediction_type"] == "epsilon":
            slope = prediction
        else:
            root = math.sqrt(sigma * sigma + 1.0)
            slope = prediction / root + (sigma / (sigma * sigma + 1.0)) * sample
        up = math.sqrt(after**2 * (sigma**2 - after**2) / sigma**2)
        down = math.sqrt(max(after**2 - up**2, 0.0))
        moved: Latent = sample + (down - sigma) * slope
        return moved + up * _needed(noise, "euler_a") if self.wants_noise(step) else moved


class DDPM(Scheduler):
    """Ancestral sampling of the posterior (Ho et al., arXiv 2006.11239, equation 7), fixed variance."""

    defaults: ClassVar[Mapping[str, Any]] = {
        "timestep_spacing": "leading",
        "clip_sample": True,
        "variance_type": "fixed_small",
    }
    supports: ClassVar[frozenset[str]] = frozenset({"variance_type"})

    def __init__(self, config: Mapping[str, Any], steps: int) -> None:
        super().__init__(config, steps)
        if self.config["variance_type"] not in ("fixed_small", "fixed_large"):
            raise LoopError(
                f"The scheduler setting variance_type={self.config['variance_type']!r} is not supported; "
                "use fixed_small or fixed_large, or another scheduler."
            )
        visited = schedule.visited(self.config, steps, one_more=False)
        self.timesteps = visited.astype(np.float32)
        left = schedule.signal_left(self.config)
        now = visited.astype(np.int64)
        self._left = left[now]
        self._next = np.append(left[now[1:]], 1.0)

    def mixture(self, step: int) -> tuple[float, float]:
        return math.sqrt(float(self._left[step])), math.sqrt(1.0 - float(self._left[step]))

    def wants_noise(self, step: int) -> bool:
        return float(self.timesteps[step]) > 0

    def advance(self, prediction: Latent, step: int, sample: Latent, noise: Latent | None = None) -> Latent:
        left, after = float(self._left[step]), float(self._next[step])
        alpha = left / after
        clean = self._clip(self._clean(prediction, sample, math.sqrt(left), math.sqrt(1.0 - left)))
        mean: Latent = (math.sqrt(after) * (1.0 - alpha) / (1.0 - left)) * clean + (
            math.sqrt(alpha) * (1.0 - after) / (1.0 - left)
        ) * sample
        if not self.wants_noise(step):
            return mean
        variance = 1.0 - alpha
        if self.config["variance_type"] == "fixed_small":
            variance *= (1.0 - after) / (1.0 - left)
        return mean + math.sqrt(max(variance, 1e-20)) * _needed(noise, "ddpm")


class CosineDDPM(Scheduler):
    """DDPM on the cosine schedule in continuous time (Pernias et al., Würstchen, arXiv 2306.00637).

    Timesteps are thousandths of the way; the denoiser's own is the share of it, 1 to 0.
    """

    defaults: ClassVar[Mapping[str, Any]] = {"scaler": 1.0, "s": 0.008}
    predictions: ClassVar[tuple[str, ...]] = ("epsilon",)

    def __init__(self, config: Mapping[str, Any], steps: int) -> None:
        super().__init__(config, steps)
        if steps < 1:
            raise LoopError(f"{steps} steps cannot be taken on this schedule; take one or more.")
        ways = np.linspace(1.0, 0.0, steps + 1)
        self.timesteps = (ways[:-1] * 1000.0).astype(np.float32)
        scaler, offset = float(self.config["scaler"]), float(self.config["s"])
        bent = 1.0 - (1.0 - ways) ** scaler if scaler > 1 else ways**scaler
        angle = (bent + offset) / (1.0 + offset) * math.pi / 2
        first = math.cos(offset / (1.0 + offset) * math.pi / 2) ** 2
        self._left = np.clip(np.cos(angle) ** 2 / first, 0.0001, 0.9999)

    def mixture(self, step: int) -> tuple[float, float]:
        return math.sqrt(float(self._left[step])), math.sqrt(1.0 - float(self._left[step]))

    def wants_noise(self, step: int) -> bool:
        return step < self.steps - 1

    def advance(self, prediction: Latent, step: int, sample: Latent, noise: Latent | None = None) -> Latent:
        left, after = float(self._left[step]), float(self._left[step + 1])
        alpha = left / after
        share = (1.0 - alpha) / math.sqrt(alpha * (1.0 - left))
        moved: Latent = math.sqrt(after / left) * sample - share * prediction
        if not self.wants_noise(step):
            return moved
        spread = math.sqrt((1.0 - alpha) * (1.0 - after) / (1.0 - left))
        return moved + spread * _needed(noise, "ddpm-cosine")
