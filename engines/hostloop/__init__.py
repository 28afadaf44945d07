"""The host loop: numpy and `tokenizers` only; travels inside every exported package as `hostloop`."""

from __future__ import annotations

from .errors import Cancelled, LoopError
from .loop import Component, Loop, Result, StepDone
from .noise import latent_noise, step_noise
from .scheduler import Scheduler
from .schedulers import DIFFUSERS_NAMES, SCHEDULERS, make
from .settings import LoopSettings

__all__ = [
    "DIFFUSERS_NAMES",
    "SCHEDULERS",
    "Cancelled",
    "Component",
    "Loop",
    "LoopError",
    "LoopSettings",
    "Result",
    "Scheduler",
    "StepDone",
    "latent_noise",
    "make",
    "step_noise",
]
