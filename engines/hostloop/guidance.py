"""Guidance: how the pass with the prompt and the one without become one prediction, and for how long.

Classifier-free guidance (Ho and Salimans, arXiv 2207.12598), both passes in one call or one after the other.
guidance_from, guidance_until: a limited interval of the steps (Kynkäänniemi et al., arXiv 2404.07724).
guidance_agreement: adaptive guidance (Castillo et al., arXiv 2312.12487): a picture's guidance ends with the
step at which the cosine similarity of its two predictions reaches the threshold.

Each picture decides for itself, so that it does not depend on its batch; a picture whose guidance has ended
is one row of the next call and no longer two.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .errors import LoopError
from .passes import Passes, guided_steps
from .reuse import Pictures
from .settings import LoopSettings

Arrays = dict[str, NDArray[Any]]
Floats = NDArray[np.float32]
EARLIEST: Final = 0.2
"""Share of the steps that are guided whatever both passes say: of almost pure noise a denoiser that predicts
noise says the same with and without the prompt, long before the picture is decided."""


def surely_guided(settings: LoopSettings, steps: int) -> range:
    """The steps that are guided whatever the data say."""
    guided = guided_steps(settings, steps)
    if not settings.guidance_agreement:
        return guided
    return guided[: max(1, math.ceil(EARLIEST * steps - 1e-9))]


class Guidance:
    """Predictions for one batch of latents, from its first step to its last.

    `conditions` are the denoiser's other inputs, (2, B, ...) each: without the prompt and with it; where no
    step is guided (1, B, ...).
    """

    def __init__(self, settings: LoopSettings, steps: int, conditions: Arrays, passes: Passes) -> None:
        self._settings, self._conditions, self._passes = settings, conditions, passes
        self._steps = guided_steps(settings, steps)
        self._judged = range(surely_guided(settings, steps).stop - 1, self._steps.stop)
        self._left: NDArray[np.bool_] | None = None
        """(B,), the pictures that are guided still."""
        self._without: Arrays = {}
        self._both: Arrays = {}

    def predict(self, sample: Floats, timestep: float, step: int, small: bool) -> Floats:
        """The denoiser's answer for `sample` (B, ...), guided where this step of a picture is."""
        if self._left is None:
            self._left = np.ones(len(sample), np.bool_)
            self._arrange()
        left, count = self._left, int(self._left.sum())

        def answer(branch: str, rows: Pictures, given: Arrays) -> Floats:
            time = np.full(len(rows), timestep, dtype=np.float32)
            shown = sample if len(rows) == len(sample) else sample[rows]
            return self._passes.evaluate(
                branch, {"sample": shown, "timestep": time, **given}, step, rows, small
            )

        everyone = np.arange(len(sample))
        prompt = {name: value[-1] for name, value in self._conditions.items()}
        if step not in self._steps or not count:
            self._passes.unguided(count)
            return answer("prompt", everyone, prompt)
        if step and step == self._steps.start:
            self._passes.guided()
        those = np.flatnonzero(left)
        if self._settings.batched_guidance:
            found = answer("both", np.concatenate([those, everyone]), self._both)
            without, with_prompt = found[:count], found[count:]
        else:
            without = answer("negative", those, self._without)
            with_prompt = answer("prompt", everyone, prompt)
        asked = with_prompt[left]
        guided = with_prompt.copy()
        guided[left] = without + self._strength * (asked - without)
        if self._settings.guidance_agreement and step in self._judged:
            self._end(similarity(without, asked) >= self._settings.guidance_agreement)
        return guided

    def _end(self, over: NDArray[np.bool_]) -> None:
        """Guidance ends for some of those that are guided."""
        if not over.any():
            return
        assert self._left is not None
        self._passes.ended(~over, len(self._left))
        self._left[np.flatnonzero(self._left)[over]] = False
        self._arrange()

    def _arrange(self) -> None:
        """The conditions by row, for as long as the same pictures are guided."""
        if not self._steps:
            return
        assert self._left is not None
        left = slice(None) if self._left.all() else self._left
        self._without = {name: value[0][left] for name, value in self._conditions.items()}
        if self._settings.batched_guidance:
            self._both = {
                name: np.concatenate([self._without[name], value[1]])
                for name, value in self._conditions.items()
            }

    @property
    def _strength(self) -> float | Floats:
        """One number, or (F, 1, 1) for a video whose guidance rises from frame to frame."""
        first = self._settings.first_guidance
        if first is None:
            return self._settings.guidance
        frames = self._settings.latent_shape[1]
        return np.linspace(first, self._settings.guidance, frames, dtype=np.float32)[:, None, None]


def check(settings: LoopSettings) -> None:
    """Raises `LoopError` for an interval or an agreement that makes no sense."""
    if not 0 <= settings.guidance_until <= 1:
        raise LoopError("Settings make no sense: guidance_until must be between 0 and 1.")
    if not (settings.guidance_from == 0 or 0 < settings.guidance_from < settings.guidance_until):
        raise LoopError("Settings make no sense: guidance_from must be below guidance_until.")
    if not 0 <= settings.guidance_agreement <= 1:
        raise LoopError("Settings make no sense: guidance_agreement must be between 0 and 1.")
    if settings.guidance_agreement and settings.gate_after < 1:
        raise LoopError(
            "Settings make no sense: of guidance_agreement and gate_after, which ends guidance as well, one "
            "can be used."
        )


def similarity(one: Floats, other: Floats) -> NDArray[np.float64]:
    """Cosine similarity by row, (B,); 0 where a row is nothing but zeros."""
    a, b = (rows.reshape(len(rows), -1).astype(np.float64) for rows in (one, other))
    size = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    found = np.zeros(len(a))
    np.divide((a * b).sum(axis=1), size, out=found, where=size > 0)
    return found
