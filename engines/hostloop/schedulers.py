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
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from . import schedule
from .errors import LoopError

Latent = NDArray[np.float32]
"""(B, C, h, w)"""

PREDICTIONS = ("epsilon", "v_prediction", "sample")
_UNSUPPORTED = (
    "thresholding",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "use_lu_lambdas",
    "use_flow_sigmas",
    "use_dynamic_shifting",
    "variance_type",
)


class Scheduler(ABC):
    """One pass from noise to latent.

    Attributes:
        timesteps: what the denoiser is told at each step, float32 (steps,); pndm evaluates one more.
        start_scale: what the unit noise is multiplied with before the first step.
    """

    defaults: ClassVar[Mapping[str, Any]] = {}
    start_scale: float = 1.0

    def __init__(self, config: Mapping[str, Any], steps: int) -> None:
        self.steps = steps
        self.config: dict[str, Any] = {
            "num_train_timesteps": 1000,
            "beta_start": 0.0001,
            "beta_end": 0.02,
            "beta_schedule": "linear",
            "prediction_type": "epsilon",
            "timestep_spacing": "linspace",
            "steps_offset": 0,
            "rescale_betas_zero_snr": False,
            "clip_sample": False,
            "clip_sample_range": 1.0,
            "set_alpha_to_one": True,
            "final_sigmas_type": "zero",
            "solver_order": 2,
            "lower_order_final": True,
            **self.defaults,
            **config,
        }
        for key in _UNSUPPORTED:
            if self.config.get(key):
                raise LoopError(
                    f"The scheduler setting {key} is not supported; set it to false in the model's "
                    "scheduler_config.json or choose another scheduler."
                )
        if self.config["prediction_type"] not in PREDICTIONS:
            raise LoopError(
                f"The prediction type {self.config['prediction_type']!r} is not supported; "
                f"use one of {', '.join(PREDICTIONS)}."
            )
        self.timesteps: NDArray[np.float32] = np.zeros(0, dtype=np.float32)

    def scale(self, sample: Latent, step: int) -> Latent:
        """What the denoiser is shown of `sample` at `step`."""
        del step
        return sample

    def wants_noise(self, step: int) -> bool:
        """Whether `advance` needs fresh noise after `step`."""
        del step
        return False

    @abstractmethod
    def advance(self, prediction: Latent, step: int, sample: Latent, noise: Latent | None = None) -> Latent:
        """The latent after `step`, (B, C, h, w), from the denoiser's prediction for it."""

    def _clean(self, prediction: Latent, sample: Latent, signal: float, noise: float) -> Latent:
        """The picture that the prediction stands for; `sample` = `signal` x0 + `noise` eps."""
        match self.config["prediction_type"]:
            case "epsilon":
                if signal == 0:
                    raise LoopError(
                        "A schedule that starts from pure noise cannot be used with a denoiser that predicts "
                        "noise; switch rescale_betas_zero_snr off in the model's scheduler_config.json."
                    )
                clean: Latent = np.divide(sample - noise * prediction, signal, dtype=np.float32)
                return clean
            case "v_prediction":
                return signal * sample - noise * prediction
            case _:
                return prediction

    def _clip(self, clean: Latent) -> Latent:
        if not self.config["clip_sample"]:
            return clean
        limit = float(self.config["clip_sample_range"])
        return np.clip(clean, -limit, limit)


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


class _Sigma(Scheduler):
    """Base of the solvers that count in lambda = log(signal / noise)."""

    def __init__(self, config: Mapping[str, Any], steps: int) -> None:
        super().__init__(config, steps)
        visited = schedule.visited(self.config, steps, one_more=True)
        self.timesteps = visited.astype(np.float32)
        sigmas = schedule.sigmas(self.config, visited)
        self._signal = [1.0 / math.sqrt(sigma * sigma + 1.0) for sigma in sigmas]
        self._noise = [float(sigma) * signal for sigma, signal in zip(sigmas, self._signal, strict=True)]
        self._lambda = [
            math.log(signal) - math.log(noise) if noise > 0 else math.inf
            for signal, noise in zip(self._signal, self._noise, strict=True)
        ]
        self._cleans: list[Latent] = []

    def _remember(self, prediction: Latent, step: int, sample: Latent) -> Latent:
        clean = self._clean(prediction, sample, self._signal[step], self._noise[step])
        self._cleans = [*self._cleans[-2:], clean]
        return clean


class DPMSolverPlusPlus2M(_Sigma):
    """DPM-Solver++ (2M), the deterministic one."""

    defaults: ClassVar[Mapping[str, Any]] = {"solver_type": "midpoint", "euler_at_final": False}

    def advance(self, prediction: Latent, step: int, sample: Latent, noise: Latent | None = None) -> Latent:
        del noise
        clean = self._remember(prediction, step, sample)
        signal = self._signal[step + 1]
        h = self._lambda[step + 1] - self._lambda[step]
        shrink = math.expm1(-h)
        result: Latent = (self._noise[step + 1] / self._noise[step]) * sample - (signal * shrink) * clean
        if self._first_order(step):
            return result
        ratio = (self._lambda[step] - self._lambda[step - 1]) / h
        slope = (clean - self._cleans[-2]) / ratio
        heun = self.config["solver_type"] == "heun"
        weight = signal * (shrink / h + 1.0) if heun else -0.5 * signal * shrink
        return result + weight * slope

    def _first_order(self, step: int) -> bool:
        last = step == self.steps - 1
        return (
            step == 0
            or int(self.config["solver_order"]) == 1
            or (last and bool(self.config["euler_at_final"]))
            or (last and bool(self.config["lower_order_final"]) and self.steps < 15)
            or (last and self.config["final_sigmas_type"] == "zero")
        )


class UniPC(_Sigma):
    """UniPC with B(h) `bh2` (or `bh1`), predicting the clean latent; at most third order."""

    defaults: ClassVar[Mapping[str, Any]] = {"solver_type": "bh2", "disable_corrector": ()}

    def __init__(self, config: Mapping[str, Any], steps: int) -> None:
        super().__init__(config, steps)
        if self.config.get("predict_x0") is False:
            raise LoopError("UniPC with predict_x0=false is not supported; set predict_x0 to true.")
        self._order = 0
        self._before: Latent | None = None

    def advance(self, prediction: Latent, step: int, sample: Latent, noise: Latent | None = None) -> Latent:
        del noise
        clean = self._clean(prediction, sample, self._signal[step], self._noise[step])
        if self._before is not None and step - 1 not in self.config["disable_corrector"]:
            sample = self._move(self._before, step - 1, self._order, newest=clean)
        self._cleans = [*self._cleans[-2:], clean]
        order = min(int(self.config["solver_order"]), 3, step + 1)
        if self.config["lower_order_final"] or self._noise[-1] == 0:
            order = min(order, self.steps - step)
        self._order, self._before = order, sample
        return self._move(sample, step, order, newest=None)

    def _move(self, sample: Latent, step: int, order: int, newest: Latent | None) -> Latent:
        """From `step` to the next: predict, or correct once the clean latent there, `newest`, is known."""
        signal = self._signal[step + 1]
        h = self._lambda[step + 1] - self._lambda[step]
        base = math.expm1(-h)
        spread = -h if self.config["solver_type"] == "bh1" else base
        here = self._cleans[-1]
        ratios = [(self._lambda[step - i] - self._lambda[step]) / h for i in range(1, order)]
        slopes = [(self._cleans[-1 - i] - here) / ratio for i, ratio in enumerate(ratios, start=1)]
        if newest is not None:
            slopes.append(newest - here)
        result: Latent = (self._noise[step + 1] / self._noise[step]) * sample - (signal * base) * here
        for weight, slope in zip(_weights(-h, spread, ratios, newest is not None), slopes, strict=True):
            result = result - (signal * spread * weight) * slope
        return result


def _weights(hh: float, spread: float, ratios: list[float], correct: bool) -> list[float]:
    """Weights of the slopes: the linear system of UniPC, equation 9 (see diffusers for the shortcuts)."""
    count = len(ratios) + correct
    if count == 0:
        return []
    if count == 1:
        return [0.5]
    points = np.array([*ratios, 1.0] if correct else ratios)
    phi = math.expm1(hh) / hh - 1.0
    factorial, right = 1, []
    for i in range(1, count + 1):
        right.append(phi * factorial / spread)
        factorial *= i + 1
        phi = phi / hh - 1.0 / factorial
    matrix = np.stack([points**i for i in range(count)])
    return [float(weight) for weight in np.linalg.solve(matrix, np.array(right))]


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
    """Euler's method on the probability-flow ODE, latents scaled by sqrt(sigma^2 + 1)."""

    def __init__(self, config: Mapping[str, Any], steps: int) -> None:
        super().__init__(config, steps)
        visited = schedule.visited(self.config, steps, one_more=False, rounded=False)
        self.timesteps = visited.astype(np.float32)
        self._sigmas = [float(sigma) for sigma in schedule.sigmas(self.config, visited)]
        largest = max(self._sigmas)
        leading = self.config["timestep_spacing"] == "leading"
        self.start_scale = math.sqrt(largest**2 + 1.0) if leading else largest

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
}
DIFFUSERS_NAMES: Mapping[str, str] = {
    "DDIMScheduler": "ddim",
    "DPMSolverMultistepScheduler": "dpm++2m",
    "UniPCMultistepScheduler": "unipc",
    "LCMScheduler": "lcm",
    "EulerDiscreteScheduler": "euler",
    "PNDMScheduler": "pndm",
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
