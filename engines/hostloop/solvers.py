"""Multistep solvers that count in lambda = log(signal / noise): DPM-Solver++ and UniPC."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from . import schedule
from .errors import LoopError
from .scheduler import PREDICTIONS, Latent, Scheduler

_ALMOST = 1e-6


class _Sigma(Scheduler):
    """Base of the solvers that count in lambda = log(signal / noise).

    With `use_flow_sigmas` the path is that of flow matching: signal = 1 - sigma, noise = sigma.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"use_karras_sigmas", "use_flow_sigmas"})
    predictions: ClassVar[tuple[str, ...]] = (*PREDICTIONS, "flow_prediction")

    def __init__(self, config: Mapping[str, Any], steps: int) -> None:
        super().__init__(config, steps)
        flow = bool(self.config.get("use_flow_sigmas"))
        if flow != (self.config["prediction_type"] == "flow_prediction"):
            raise LoopError(
                "The scheduler settings use_flow_sigmas and prediction_type=flow_prediction go together; "
                "correct the model's scheduler_config.json."
            )
        if flow:
            sigmas = self._flow_levels(steps).astype(np.float32).astype(np.float64)
            self.timesteps = np.trunc(self._flow_levels(steps)[:-1] * self._count).astype(np.float32)
            self._signal = [1.0 - float(sigma) for sigma in sigmas]
            self._noise = [float(sigma) for sigma in sigmas]
        else:
            sigmas = self._levels(steps)
            self._signal = [1.0 / math.sqrt(sigma * sigma + 1.0) for sigma in sigmas]
            self._noise = [float(sigma) * signal for sigma, signal in zip(sigmas, self._signal, strict=True)]
        self._lambda = [
            math.log(signal) - math.log(noise) if noise > 0 else math.inf
            for signal, noise in zip(self._signal, self._noise, strict=True)
        ]
        self._cleans: list[Latent] = []

    @property
    def _count(self) -> int:
        return int(self.config["num_train_timesteps"])

    def _levels(self, steps: int) -> NDArray[np.float64]:
        """Noise over signal at each step and after the last, (steps + 1,); sets the timesteps."""
        visited = schedule.visited(self.config, steps, one_more=True)
        found = schedule.sigmas(self.config, visited)
        if self.config.get("use_karras_sigmas"):
            every = schedule.training_sigmas(self.config)
            found[:-1] = schedule.karras(self.config, float(every[-1]), float(every[0]), steps)
            visited = np.trunc(np.round(schedule.timesteps_of(found[:-1], every)))
        self.timesteps = visited.astype(np.float32)
        return found

    def mixture(self, step: int) -> tuple[float, float]:
        return self._signal[step], self._noise[step]

    @abstractmethod
    def _flow_levels(self, steps: int) -> NDArray[np.float64]:
        """Sigma of flow matching at each step and after the last, (steps + 1,)."""

    def _remember(self, prediction: Latent, step: int, sample: Latent) -> Latent:
        clean = self._clean(prediction, sample, self._signal[step], self._noise[step])
        self._cleans = [*self._cleans[-2:], clean]
        return clean


class DPMSolverPlusPlus2M(_Sigma):
    """DPM-Solver++ (2M), the deterministic one."""

    supports: ClassVar[frozenset[str]] = _Sigma.supports | {"use_dynamic_shifting"}
    defaults: ClassVar[Mapping[str, Any]] = {"solver_type": "midpoint", "euler_at_final": False}

    def __init__(self, config: Mapping[str, Any], steps: int) -> None:
        super().__init__(config, steps)
        algorithm = self.config.get("algorithm_type", "dpmsolver++")
        if algorithm not in ("dpmsolver++", "deis") or int(self.config["solver_order"]) > 2:
            raise LoopError(
                f"DPM-Solver {algorithm} of order {self.config['solver_order']} is not supported; use "
                "dpmsolver++ of order 1 or 2 in the model's scheduler_config.json or another scheduler."
            )

    def _flow_levels(self, steps: int) -> NDArray[np.float64]:
        shift = float(self.config.get("flow_shift", 1.0))
        if self.config.get("use_dynamic_shifting") and self.config.get("mu") is not None:
            shift = math.exp(float(self.config["mu"]))
        levels = 1.0 - np.linspace(1.0, 1.0 / self._count, steps + 1)
        levels = np.flip(shift * levels / (1.0 + (shift - 1.0) * levels))[:-1]
        left = float(schedule.signal_left(self.config)[0])
        last = 0.0 if self.config["final_sigmas_type"] == "zero" else math.sqrt((1.0 - left) / left)
        return np.append(levels, last)

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
            step == self.first
            or int(self.config["solver_order"]) == 1
            or (last and bool(self.config["euler_at_final"]))
            or (last and bool(self.config["lower_order_final"]) and self.steps < 15)
            or (last and self.config["final_sigmas_type"] == "zero")
        )


class UniPC(_Sigma):
    """UniPC with B(h) `bh2` (or `bh1`), predicting the clean latent; at most third order."""

    supports: ClassVar[frozenset[str]] = _Sigma.supports | {"use_dynamic_shifting", "shift_terminal"}
    defaults: ClassVar[Mapping[str, Any]] = {"solver_type": "bh2", "disable_corrector": ()}

    def __init__(self, config: Mapping[str, Any], steps: int) -> None:
        super().__init__(config, steps)
        if self.config.get("predict_x0") is False:
            raise LoopError("UniPC with predict_x0=false is not supported; set predict_x0 to true.")
        self._order = 0
        self._before: Latent | None = None

    def _flow_levels(self, steps: int) -> NDArray[np.float64]:
        levels = np.linspace(1.0, 1.0 / self._count, steps + 1)[:-1]
        levels = schedule.flow_shifted(levels, self.config, float(self.config.get("flow_shift", 1.0)))
        if abs(levels[0] - 1.0) < _ALMOST:
            levels[0] -= _ALMOST  # no signal at all has no logarithm
        last = 0.0 if self.config["final_sigmas_type"] == "zero" else float(levels[-1])
        return np.append(levels, last)

    def advance(self, prediction: Latent, step: int, sample: Latent, noise: Latent | None = None) -> Latent:
        del noise
        clean = self._clean(prediction, sample, self._signal[step], self._noise[step])
        if self._before is not None and step - 1 not in self.config["disable_corrector"]:
            sample = self._move(self._before, step - 1, self._order, newest=clean)
        self._cleans = [*self._cleans[-2:], clean]
        order = min(int(self.config["solver_order"]), 3, step - self.first + 1)
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
