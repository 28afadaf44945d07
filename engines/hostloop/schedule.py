"""Noise schedules: how much signal is left at each training timestep, and which timesteps are visited.

The keys of `config` are those of a diffusers `scheduler_config.json`.
Spacings: Lin et al., "Common Diffusion Noise Schedules and Sample Steps are
Flawed" (arXiv 2305.08891), table 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import LoopError

ALMOST_ZERO_SNR = 2.0**-24
"""Signal that solvers in sigma leave at the last timestep of a zero-SNR schedule, as diffusers does."""


def _refuse(key: str, value: object, known: tuple[str, ...]) -> LoopError:
    return LoopError(
        f"The scheduler setting {key}={value!r} is not supported; use one of {', '.join(known)}."
    )


def _cosine_betas(count: int) -> NDArray[np.float64]:
    share = np.arange(count + 1) / count
    kept = np.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2
    betas: NDArray[np.float64] = np.minimum(1.0 - kept[1:] / kept[:-1], 0.999)
    return betas


def signal_left(config: Mapping[str, Any]) -> NDArray[np.float64]:
    """Cumulative product of the alphas, (T,), from almost 1 down to almost (or exactly) 0.

    Raises:
        LoopError: a beta schedule that is not known.
    """
    count = int(config["num_train_timesteps"])
    first, last = float(config["beta_start"]), float(config["beta_end"])
    match config["beta_schedule"]:
        case _ if config.get("trained_betas") is not None:
            betas = np.asarray(config["trained_betas"], dtype=np.float64)
        case "linear":
            betas = np.linspace(first, last, count, dtype=np.float64)
        case "scaled_linear":
            betas = np.square(np.linspace(first**0.5, last**0.5, count, dtype=np.float64))
        case "squaredcos_cap_v2":
            betas = _cosine_betas(count)
        case other:
            raise _refuse("beta_schedule", other, ("linear", "scaled_linear", "squaredcos_cap_v2"))
    left: NDArray[np.float64] = np.cumprod(1.0 - betas, dtype=np.float64)
    if config.get("rescale_betas_zero_snr"):
        root = np.sqrt(left)
        root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
        left = np.square(root)
    return left


def visited(
    config: Mapping[str, Any], steps: int, *, one_more: bool, rounded: bool = True
) -> NDArray[np.float64]:
    """Timesteps to visit, (steps,), from noise to picture.

    `one_more`: solvers in sigma divide the range as if there were one more
    step, the one to zero noise.  `rounded`: whole timesteps only.

    Raises:
        LoopError: more steps than training timesteps, or a spacing that is not known.
    """
    count = int(config["num_train_timesteps"])
    if not 1 <= steps <= count:
        raise LoopError(f"{steps} steps cannot be taken on this schedule; choose between 1 and {count}.")
    points = steps + one_more
    down: NDArray[np.floating[Any]]
    match config["timestep_spacing"]:
        case "linspace":
            up = np.linspace(0, count - 1, points)
            down = np.round(up)[::-1] if rounded else up[::-1]
        case "leading":
            down = (np.arange(points) * (count // points))[::-1] + float(config["steps_offset"])
        case "trailing":
            down = np.round(np.arange(steps, 0, -1) * (count / steps)) - 1
        case other:
            raise _refuse("timestep_spacing", other, ("leading", "linspace", "trailing"))
    return np.clip(down[:steps], 0, count - 1).astype(np.float64)


def sigmas(config: Mapping[str, Any], timesteps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Noise over signal at each visited timestep and after the last, (steps + 1,)."""
    every = training_sigmas(config)
    match config["final_sigmas_type"]:
        case "zero":
            final = 0.0
        case "sigma_min":
            final = float(every[0])
        case other:
            raise _refuse("final_sigmas_type", other, ("zero", "sigma_min"))
    return np.append(np.interp(timesteps, np.arange(len(every)), every), final)


def training_sigmas(config: Mapping[str, Any]) -> NDArray[np.float64]:
    """Noise over signal at every training timestep, (T,), rising."""
    left = signal_left(config)
    if config.get("rescale_betas_zero_snr"):
        left[-1] = ALMOST_ZERO_SNR
    every: NDArray[np.float64] = np.sqrt((1.0 - left) / left)
    return every


def karras(config: Mapping[str, Any], first: float, last: float, steps: int) -> NDArray[np.float64]:
    """Sigmas from `first` down to `last`, (steps,): Karras et al., arXiv 2206.00364, equation 5, rho 7.

    The settings `sigma_max` and `sigma_min` replace the two where they are given.
    """
    high = float(config["sigma_max"]) if config.get("sigma_max") is not None else first
    low = float(config["sigma_min"]) if config.get("sigma_min") is not None else last
    ramp = np.linspace(0, 1, steps)
    found: NDArray[np.float64] = (high ** (1 / 7) + ramp * (low ** (1 / 7) - high ** (1 / 7))) ** 7
    return found


def timesteps_of(sigmas: NDArray[np.float64], every: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where on the training schedule given sigmas lie, by their logarithm, (steps,)."""
    found: NDArray[np.float64] = np.interp(
        np.log(np.maximum(sigmas, 1e-10)), np.log(every), np.arange(len(every), dtype=np.float64)
    )
    return found


def flow_shifted(sigmas: NDArray[np.float64], config: Mapping[str, Any], shift: float) -> NDArray[np.float64]:
    """Flow-matching noise levels, moved towards noise: by `shift`, or by `mu` where shifting is dynamic.

    Esser et al., arXiv 2403.03206, section 5.3.2; FLUX computes `mu` from the picture's size.

    Raises:
        LoopError: shifting is dynamic and `mu` is not given, or of a kind that is not known.
    """
    if config.get("use_dynamic_shifting"):
        mu = config.get("mu")
        if mu is None:
            raise LoopError(
                "The scheduler shifts by the picture's size (use_dynamic_shifting) and was not given mu; "
                "make the plan again."
            )
        match config.get("time_shift_type", "exponential"):
            case "exponential":
                weight = math.exp(float(mu))
            case "linear":
                weight = float(mu)
            case other:
                raise _refuse("time_shift_type", other, ("exponential", "linear"))
        moved: NDArray[np.float64] = weight / (weight + (1.0 / sigmas - 1.0))
    else:
        moved = shift * sigmas / (1.0 + (shift - 1.0) * sigmas)
    if config.get("shift_terminal"):
        rest = 1.0 - moved
        moved = 1.0 - rest / (rest[-1] / (1.0 - float(config["shift_terminal"])))
    return moved
