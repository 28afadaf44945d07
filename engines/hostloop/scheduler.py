"""What every scheduler is: a small state machine that carries one batch of latents from noise to picture."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .errors import LoopError

Latent = NDArray[np.float32]
"""(B, C, h, w), of video (B, C, F, h, w)"""

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
    "shift_terminal",
    "invert_sigmas",
    "stochastic_sampling",
)


class Scheduler(ABC):
    """One pass from noise to latent.

    Attributes:
        timesteps: what the denoiser is told at each step, float32 (steps,); pndm evaluates one more.
        start_scale: what the unit noise is multiplied with before the first step.
        first: the step that this pass begins with; 0 unless `begin` said otherwise.
    """

    defaults: ClassVar[Mapping[str, Any]] = {}
    supports: ClassVar[frozenset[str]] = frozenset()
    """Settings that only some schedulers can follow, and this one can."""
    predictions: ClassVar[tuple[str, ...]] = PREDICTIONS
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
            if self.config.get(key) and key not in self.supports:
                raise LoopError(
                    f"The scheduler setting {key} is not supported; set it to false in the model's "
                    "scheduler_config.json or choose another scheduler."
                )
        if self.config["prediction_type"] not in self.predictions:
            raise LoopError(
                f"The prediction type {self.config['prediction_type']!r} is not supported; "
                f"use one of {', '.join(self.predictions)}."
            )
        self.timesteps: NDArray[np.float32] = np.zeros(0, dtype=np.float32)
        self.first = 0

    def begin(self, strength: float, latent: Latent, noise: Latent) -> Latent:
        """Start late, from a latent that is there: what the first step is given; sets `first`.

        SDEdit (Meng et al., arXiv 2108.01073) as diffusers' img2img does it: the last
        `int(steps * strength)` steps are taken, from the latent mixed with unit noise
        as much as the first of them expects.

        Raises:
            LoopError: a strength that is not above 0 and at most 1, or so small that no step is left.
        """
        if not 0 < strength <= 1:
            raise LoopError(f"The strength {strength} makes no sense; give a number above 0 and up to 1.")
        taken = min(int(self.steps * strength + 1e-9), self.steps)
        if taken < 1:
            raise LoopError(
                f"With strength {strength} none of {self.steps} steps is left; give {1 / self.steps:.3g} or "
                "more."
            )
        return self.join(self._late(self.steps - taken), latent, noise)

    def join(self, step: int, latent: Latent, noise: Latent) -> Latent:
        """Begin with `step`: what it is given of a clean latent and unit noise; sets `first`."""
        self.first = step
        signal, blur = self.mixture(step)
        return (signal * latent + blur * noise).astype(np.float32)

    def clean(self, prediction: Latent, step: int, sample: Latent) -> Latent:
        """The latent without noise that the denoiser's prediction for `step` stands for."""
        signal, blur = self.mixture(step)
        if self.config["prediction_type"] == "v_prediction":
            # velocity is defined where signal and noise have unit variance together
            size = math.hypot(signal, blur)
            sample, signal, blur = sample / size, signal / size, blur / size
        return self._clean(prediction, sample, signal, blur)

    def _late(self, skipped: int) -> int:
        """The step after `skipped` steps."""
        return skipped

    @abstractmethod
    def mixture(self, step: int) -> tuple[float, float]:
        """How much clean latent and how much unit noise the sample at `step` is."""

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
            case "flow_prediction":
                return sample - noise * prediction
            case _:
                return prediction

    def _clip(self, clean: Latent) -> Latent:
        if not self.config["clip_sample"]:
            return clean
        limit = float(self.config["clip_sample_range"])
        return np.clip(clean, -limit, limit)
