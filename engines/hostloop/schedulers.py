"""Schedulers: how one denoiser prediction moves a latent towards a picture.

Each is a small state machine for one batch of latents; make a new one for the
next batch.  They follow the classes of diffusers 0.42 step by step and read
the same configuration:

    ddim      Song et al., arXiv 2010.02502 (eta 0)
    dpm++2m   Lu et al., DPM-Solver++ second-order multistep, arXiv 2211.01095
    unipc     Zhao et al., UniPC, arXiv 2302.04867
    lcm       Luo et al., latent consistency, arXiv 2310.04378 (adds noise between steps)
    euler     Karras et al., arXiv 2206.00364, algorithm 2 without churn
    pndm      Liu et al., arXiv 2202.09778, linear multistep as Stable Diffusion 1 ships it (skip_prk_steps)
    euler_a   Euler ancestral, as SDXL-Turbo ships it (adds noise)
    ddpm      Ho et al., arXiv 2006.11239 (adds noise)
    ddpm-cosine  the same in continuous time on a cosine schedule, as Stable Cascade ships it (adds noise)
    flow-euler  Euler along the straight path of flow matching, as SD 3 and FLUX ship it
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from . import schedule
from .errors import LoopError
from .flow import FlowEuler
from .scheduler import Latent, Scheduler
from .solvers import DPMSolverPlusPlus2M, UniPC
from .stochastic import DDPM, CosineDDPM, EulerAncestral


class DDIM(Scheduler):
    """Deterministic DDIM."""

    defaults: ClassVar[Mapping[str, Any]] = {"timestep_spacing": "leading", "clip_sample": True}

    def __init__(self, config: Mapping[str, Any], steps: int) -> None:
        super().__init__(config, steps)
        visited = schedule.visited(self.config, steps, one_more=False)
        self.timesteps = visited.astype(np.float32)
        left = schedule.signal_left(self.config)
        final = 1.0 if self.config["set_alpha_to_one"] else float(left[0])
        now = visited.astype(np.int64)
        # diffusers steps back by a whole stride, also where the spacing is not even.
        then = now - int(self.config["num_train_timesteps"]) // steps
        self._left = left[now]
        self._next = np.where(then >= 0, left[np.maximum(then, 0)], final)

    def mixture(self, step: int) -> tuple[float, float]:
        return math.sqrt(float(self._left[step])), math.sqrt(1.0 - float(self._left[step]))

    def advance(self, prediction: Latent, step: int, sample: Latent, noise: Latent | None = None) -> Latent:
        del noise
        left, after = float(self._left[step]), float(self._next[step])
        signal, blur = math.sqrt(left), math.sqrt(1.0 - left)
        clean = self._clean(prediction, sample, signal, blur)
        direction: Latent
        match self.config["prediction_type"]:
            case "epsilon":
                direction = prediction
            case "v_prediction":
                direction = signal * prediction + blur * sample
            case _:
                direction = np.divide(sample - signal * clean, blur, dtype=np.float32)
        return math.sqrt(after) * self._clip(clean) + math.sqrt(1.0 - after) * direction


class LCM(Scheduler):
    """Consistency stepping: jump to the picture, add less noise, jump again."""

    defaults: ClassVar[Mapping[str, Any]] = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "timestep_scaling": 10.0,
        "original_inference_steps": 50,
    }
    _SIGMA_DATA = 0.5

    def __init__(self, config: Mapping[str, Any], steps: int) -> None:
        super().__init__(config, steps)
        original = int(self.config["original_inference_steps"])
        if not 1 <= steps <= original:
            raise LoopError(f"{steps} steps cannot be taken with lcm; choose between 1 and {original}.")
        stride = int(self.config["num_train_timesteps"]) // original
        grid = (np.arange(1, original + 1) * stride - 1)[::-1]
        chosen = grid[np.floor(np.linspace(0, original, num=steps, endpoint=False)).astype(np.int64)]
        self.timesteps = chosen.astype(np.float32)
        self._left = schedule.signal_left(self.config)[chosen]

    def mixture(self, step: int) -> tuple[float, float]:
        return math.sqrt(float(self._left[step])), math.sqrt(1.0 - float(self._left[step]))

    def wants_noise(self, step: int) -> bool:
        return step < len(self._left) - 1

    def advance(self, prediction: Latent, step: int, sample: Latent, noise: Latent | None = None) -> Latent:
        left = float(self._left[step])
        clean = self._clip(self._clean(prediction, sample, math.sqrt(left), math.sqrt(1.0 - left)))
        scaled = float(self.timesteps[step]) * float(self.config["timestep_scaling"])
        size = scaled * scaled + self._SIGMA_DATA**2
        denoised: Latent = (scaled / math.sqrt(size)) * clean + (self._SIGMA_DATA**2 / size) * sample
        if not self.wants_noise(step):
            return denoised
        if noise is None:
            raise LoopError("The lcm scheduler needs noise between steps; pass step_noise for each latent.")
        after = float(self._left[step + 1])
        return math.sqrt(after) * denoised + math.sqrt(1.0 - after) * noise


class Euler(Scheduler):
    """Euler's method on the probability-flow ODE, latents scaled by sqrt(sigma^2 + 1).

    With `timestep_type` continuous, as Stable Video Diffusion ships it, the denoiser is told a quarter of the
    logarithm of sigma.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"use_karras_sigmas"})

    def __init__(self, config: Mapping[str, Any], steps: int) -> None:
        super().__init__(config, steps)
        if self.config.get("interpolation_type", "linear") != "linear":
            raise LoopError(
                "The scheduler setting interpolation_type must be linear; set it so in the model's "
                "scheduler_config.json or choose another scheduler."
            )
        visited = schedule.visited(self.config, steps, one_more=False, rounded=False)
        found = schedule.sigmas(self.config, visited)
        if self.config.get("use_karras_sigmas"):
            found[:-1] = schedule.karras(self.config, float(found[0]), float(found[-2]), steps)
            visited = schedule.timesteps_of(found[:-1], schedule.training_sigmas(self.config))
        continuous = self.config.get("timestep_type") == "continuous"
        if continuous and self.config["prediction_type"] == "v_prediction":
            visited = 0.25 * np.log(found[:-1])
        self.timesteps = visited.astype(np.float32)
        self._sigmas = [float(sigma) for sigma in found]
        largest = max(self._sigmas)
        leading = self.config["timestep_spacing"] == "leading"
        self.start_scale = math.sqrt(largest**2 + 1.0) if leading else largest

    def mixture(self, step: int) -> tuple[float, float]:
        return 1.0, self._sigmas[step]

    def scale(self, sample: Latent, step: int) -> Latent:
        return sample / math.sqrt(self._sigmas[step] ** 2 + 1.0)

    def advance(self, prediction: Latent, step: int, sample: Latent, noise: Latent | None = None) -> Latent:
        del noise
        sigma, after = self._sigmas[step], self._sigmas[step + 1]
        slope: Latent
        match self.config["prediction_type"]:
            case "epsilon":
                slope = prediction
            case "v_prediction":
                root = math.sqrt(sigma * sigma + 1.0)
                slope = prediction / root + (sigma / (sigma * sigma + 1.0)) * sample
            case _:
                slope = (sample - prediction) / sigma
        return sample + (after - sigma) * slope


class PNDM(Scheduler):
    """Linear multistep on the noise prediction; the second timestep is evaluated twice to start it."""

    defaults: ClassVar[Mapping[str, Any]] = {"timestep_spacing": "leading", "set_alpha_to_one": False}
    _WEIGHTS = ((1.0,), (1.5, -0.5), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))

    def __init__(self, config: Mapping[str, Any], steps: int) -> None:
        super().__init__({**config, "rescale_betas_zero_snr": False}, steps)
        if self.config["prediction_type"] == "sample" or not self.config.get("skip_prk_steps"):
            raise LoopError(
                "The scheduler pndm needs skip_prk_steps and a denoiser that predicts noise or velocity; "
                "choose another scheduler."
            )
        visited = schedule.visited(self.config, steps, one_more=False)
        visited = np.concatenate([visited[:2], visited[1:]])
        self.timesteps = visited.astype(np.float32)
        stride = int(self.config["num_train_timesteps"]) // steps
        now = visited.astype(np.int64)
        then = now - stride
        if len(now) > 1:
            now[1], then[1] = now[1] + stride, now[1]
        left = schedule.signal_left(self.config)
        final = 1.0 if self.config["set_alpha_to_one"] else float(left[0])
        self._left = left[np.minimum(now, len(left) - 1)]
        self._next = np.where(then >= 0, left[np.maximum(then, 0)], final)
        self._past: list[Latent] = []
        self._start: Latent | None = None

    def _late(self, skipped: int) -> int:
        # The second timestep is there twice, for a start from noise only.  (diffusers evaluates it
        # again for a late start too, on a list that has it once, and is a step off from then on.)
        return skipped + (skipped > 0)

    def mixture(self, step: int) -> tuple[float, float]:
        return math.sqrt(float(self._left[step])), math.sqrt(1.0 - float(self._left[step]))

    def advance(self, prediction: Latent, step: int, sample: Latent, noise: Latent | None = None) -> Latent:
        del noise
        if step == 1 and self._start is not None:
            output: Latent = (prediction + self._past[-1]) * 0.5
            sample = self._start
        else:
            self._past = [*self._past[-3:], prediction]
            weights = self._WEIGHTS[len(self._past) - 1]
            output = weights[0] * prediction
            for weight, past in zip(weights[1:], self._past[-2::-1], strict=True):
                output = output + weight * past
        if step == 0:
            self._start = sample
        left, after = float(self._left[step]), float(self._next[step])
        signal, blur = math.sqrt(left), math.sqrt(1.0 - left)
        if self.config["prediction_type"] == "v_prediction":
            output = signal * output + blur * sample
        size = left * math.sqrt(1.0 - after) + math.sqrt(left * (1.0 - left) * after)
        return math.sqrt(after / left) * sample - ((after - left) / size) * output


SCHEDULERS: Mapping[str, type[Scheduler]] = {
    "ddim": DDIM,
    "dpm++2m": DPMSolverPlusPlus2M,
    "unipc": UniPC,
    "lcm": LCM,
    "euler": Euler,
    "pndm": PNDM,
    "euler_a": EulerAncestral,
    "ddpm": DDPM,
    "ddpm-cosine": CosineDDPM,
    "flow-euler": FlowEuler,
}
DIFFUSERS_NAMES: Mapping[str, str] = {
    "DDIMScheduler": "ddim",
    "DPMSolverMultistepScheduler": "dpm++2m",
    "UniPCMultistepScheduler": "unipc",
    "LCMScheduler": "lcm",
    "EulerDiscreteScheduler": "euler",
    "PNDMScheduler": "pndm",
    "EulerAncestralDiscreteScheduler": "euler_a",
    "DDPMScheduler": "ddpm",
    "DDPMWuerstchenScheduler": "ddpm-cosine",
    "FlowMatchEulerDiscreteScheduler": "flow-euler",
}
"""Which of our schedulers a model's saved `_class_name` means."""


def make(name: str, config: Mapping[str, Any], steps: int) -> Scheduler:
    """A scheduler for one batch of latents.

    Raises:
        LoopError: a name, a setting or a number of steps that cannot be used.
    """
    try:
        kind = SCHEDULERS[name]
    except KeyError:
        raise LoopError(f"There is no scheduler {name!r}; use one of {', '.join(SCHEDULERS)}.") from None
    return kind(config, steps)
