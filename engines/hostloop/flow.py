"""Flow matching: the denoiser predicts the velocity from picture to noise (Lipman, arXiv 2210.02747)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from . import schedule
from .errors import LoopError
from .scheduler import Latent, Scheduler


class FlowEuler(Scheduler):
    """Euler's method along the straight path, `sample` = (1 - sigma) x0 + sigma eps, as SD 3 ships it.

    The key `linear_sigmas` says that the model's pipeline names the noise
    levels itself, 1 to 1/steps; `mu` is what it computes from the picture's size.
    """

    defaults: ClassVar[Mapping[str, Any]] = {"shift": 1.0, "prediction_type": "flow_prediction"}
    supports: ClassVar[frozenset[str]] = frozenset({"use_dynamic_shifting", "shift_terminal"})
    predictions: ClassVar[tuple[str, ...]] = ("flow_prediction",)

    def __init__(self, config: Mapping[str, Any], steps: int) -> None:
        super().__init__(config, steps)
        count = int(self.config["num_train_timesteps"])
        if not 1 <= steps <= count:
            raise LoopError(f"{steps} steps cannot be taken on this schedule; choose between 1 and {count}.")
        shift = 1.0 if self.config.get("use_dynamic_shifting") else float(self.config["shift"])
        if self.config.get("linear_sigmas"):
            levels = np.linspace(1.0, 1.0 / steps, steps).astype(np.float32).astype(np.float64)
        else:
            last = shift / count / (1.0 + (shift - 1.0) / count)
            levels = np.linspace(1.0, last, steps)
        levels = schedule.flow_shifted(levels, self.config, shift)
        self.timesteps = (levels * count).astype(np.float32)
        self._sigmas = [float(level) for level in np.append(levels, 0.0).astype(np.float32)]

    def mixture(self, step: int) -> tuple[float, float]:
        return 1.0 - self._sigmas[step], self._sigmas[step]

    def advance(self, prediction: Latent, step: int, sample: Latent, noise: Latent | None = None) -> Latent:
        del noise
        return sample + (self._sigmas[step + 1] - self._sigmas[step]) * prediction
