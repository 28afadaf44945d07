"""Which part of the denoiser runs at a step, and what of an earlier step stands in for the rest.

cache_interval: DeepCache (Ma et al., arXiv 2312.00858), uniform schedule: a full
pass every so many steps, its deep feature re-used in between.
forecast_order: TaylorSeer (Liu et al., arXiv 2503.06923): the same schedule, the
feature in between forecast from its finite differences at the last full passes.
gate_after: T-GATE (Zhang et al., arXiv 2404.02747): full passes up to the gate;
afterwards what cross-attention answered last, the mean with and without the
prompt, stands in for it.  Together with cache_interval (57.9 to 43.9 T multiplications in the paper) the pass
at the gate is whole, and frozen passes are whole or shallow by the same schedule.
cache_threshold, reuse: the front of the denoiser runs at every step, and a rule
(`reuse.py`) decides from what it shows whether the rest runs again or the last
whole pass's feature is re-used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .errors import LoopError
from .reuse import Kept, Pictures, Rows, reuse_of, stale
from .settings import LoopSettings

Arrays = dict[str, NDArray[Any]]
Floats = NDArray[np.float32]
Call = Callable[[str, Arrays], Arrays]

SPLIT: Final = ("denoiser_full", "denoiser_shallow")
GATED: Final = ("denoiser_gated", "denoiser_gated_shallow")
"""As `SPLIT`, with frozen cross-attention, where the denoiser is split for both."""
STAGES: Final = ("denoiser_first", "denoiser_rest", "denoiser_last")
SMALL: Final = "denoiser_small"


def parts(settings: LoopSettings) -> tuple[str, ...]:
    """The components that the denoiser is made of.

    Raises:
        LoopError: two ways of leaving work out at once, or a share or a threshold that makes no sense.
    """
    if settings.forecast_order < 0 or (settings.forecast_order and settings.cache_interval == 1):
        raise LoopError(
            "Settings make no sense: forecast_order must not be below 0, and needs a cache_interval above 1."
        )
    reuse = reuse_of(settings)
    caches, gates = settings.cache_interval > 1, settings.gate_after < 1
    joined = caches and gates and not settings.forecast_order
    ways = [caches or joined, gates and not joined, reuse is not None, settings.small_until > 0]
    if sum(ways) > 1:
        raise LoopError(
            "Settings make no sense: of cache_interval, gate_after, cache_threshold, reuse and small_until "
            "one can be used, or the first two without a forecast."
        )
    if not (0 < settings.gate_after <= 1 and 0 <= settings.small_until < 1 and settings.cache_threshold >= 0):
        raise LoopError(
            "Settings make no sense: gate_after must be above 0 and at most 1, small_until at least 0 and "
            "below 1, cache_threshold not below 0."
        )
    if reuse is not None or settings.forecast_order:
        return STAGES
    if settings.small_until > 0:
        return ("denoiser", SMALL)
    if joined:
        return SPLIT + GATED
    return SPLIT if caches or gates else ("denoiser",)


def guided_steps(settings: LoopSettings, steps: int) -> range:
    """The steps that are guided: two passes each."""
    if settings.guidance <= 1 or settings.embedded_guidance:
        return range(0)
    first, end = (
        math.ceil(share * steps - 1e-9) for share in (settings.guidance_from, settings.guidance_until)
    )
    return range(first, end)


def whole_steps(settings: LoopSettings, steps: int) -> list[int]:
    """The steps of a feature cache that are whole: every so many, where guidance begins, and at the gate."""
    also = {*guided_steps(settings, steps)[:1]}
    also |= {gate(settings, steps)} if settings.gate_after < 1 else set()
    return [step for step in range(steps) if step % settings.cache_interval == 0 or step in also]


def gate(settings: LoopSettings, steps: int) -> int:
    """The step from which on cross-attention is frozen."""
    return max(1, math.ceil(settings.gate_after * steps - 1e-9))


def small_steps(settings: LoopSettings, steps: int) -> int:
    """How many steps, from the first, are taken at half the size."""
    return min(steps - 1, math.ceil(settings.small_until * steps - 1e-9)) if settings.small_until else 0


@dataclass(frozen=True, slots=True)
class _Course:
    """Where a feature is heading: its value and finite differences at the last whole pass, (B, ...) each.

    The m-th difference is the change of the one below it for each step, so that unequal distances between
    whole passes are allowed for.
    """

    step: int
    differences: tuple[Floats, ...]

    def after(self, feature: Floats, step: int, order: int) -> _Course:
        """With one more whole pass; the order grows with the passes there are."""
        found = [feature]
        for before in self.differences[:order]:
            found.append((found[-1] - before) / np.float32(step - self.step))
        return _Course(step, tuple(found))

    def forecast(self, step: int) -> Floats:
        """The Taylor series at a later step."""
        ahead, found = step - self.step, self.differences[0]
        for power, difference in enumerate(self.differences[1:], start=1):
            found = found + difference * np.float32(ahead**power / math.factorial(power))
        return found

    def rows(self, which: Rows | slice) -> _Course:
        return _Course(self.step, tuple(one[which] for one in self.differences))


class Passes:
    """Answers for one batch of latents, from its first step to its last."""

    def __init__(self, settings: LoopSettings, steps: int, call: Call) -> None:
        self._settings, self._steps, self._call = settings, steps, call
        self._features: dict[str, Floats] = {}
        """Deep features of the last whole pass, by branch."""
        self._answers: dict[str, Floats] = {}
        """What cross-attention answered in it."""
        self._kept: dict[str, Kept] = {}
        self._reuse = reuse_of(settings)
        self._courses: dict[str, _Course] = {}

    def guided(self) -> None:
        """Guidance begins: what was kept is of passes with the prompt alone."""
        self._features.clear()
        self._answers.clear()
        self._kept.clear()
        self._courses.clear()

    def ended(self, stay: Rows, count: int) -> None:
        """Guidance has ended for some of `count` pictures: of them only the rows with the prompt go on.

        `stay` (G,): which of those that were guided still are.
        """
        self._keep("negative", stay, "negative")
        self._keep("both", np.concatenate([stay, np.ones(count, np.bool_)]), "both")

    def unguided(self, count: int) -> None:
        """Guidance has ended for the `count` pictures that had it: the rows with the prompt go on."""
        self._settle(count)
        self._keep("both", slice(count, None), "prompt")

    def _keep(self, branch: str, which: Rows | slice, name: str) -> None:
        """Of what a branch keeps some rows, from now on under a name."""
        for kept in (self._features, self._answers):
            if branch in kept:
                kept[name] = kept.pop(branch)[which]
        if branch in self._courses:
            self._courses[name] = self._courses.pop(branch).rows(which)
        if branch in self._kept:
            self._kept[name] = self._kept.pop(branch).rows(which)

    def _settle(self, count: int) -> None:
        """What is frozen is the mean of what cross-attention answered without and with the prompt."""
        if "both" in self._answers:
            both = self._answers.pop("both")
            self._answers["prompt"] = (both[:count] + both[count:]) * np.float32(0.5)
        elif "negative" in self._answers:
            without = self._answers.pop("negative")
            self._answers["prompt"] = (without + self._answers["prompt"]) * np.float32(0.5)

    def evaluate(
        self, branch: str, inputs: Arrays, step: int, pictures: Pictures, small: bool = False
    ) -> Floats:
        """The prediction for `inputs`; `branch` is `both`, `negative` or `prompt`.

        `pictures` (B,): which picture each row is a pass of.
        """
        settings = self._settings
        if small:
            return self._call(SMALL, inputs)["prediction"]
        if self._reuse is not None:
            return self._staged(branch, inputs, step, pictures)
        if settings.forecast_order:
            return self._forecast(branch, inputs, step)
        if settings.cache_interval == 1 and settings.gate_after == 1:
            return self._call("denoiser", inputs)["prediction"]
        if settings.cache_interval == 1:
            return self._gated(branch, inputs, step)
        return self._cached(branch, inputs, step)

    def _gated(self, branch: str, inputs: Arrays, step: int) -> Floats:
        if step >= gate(self._settings, self._steps) and branch in self._answers:
            return self._call("denoiser_shallow", inputs | {"feature": self._answers[branch]})["prediction"]
        outputs = self._call("denoiser_full", inputs)
        self._answers[branch] = outputs["feature"]
        return outputs["prediction"]

    def _cached(self, branch: str, inputs: Arrays, step: int) -> Floats:
        gates, at = self._settings.gate_after < 1, gate(self._settings, self._steps)
        frozen = gates and step >= at and branch in self._answers
        full, shallow = GATED if frozen else SPLIT
        given = inputs | {"attention": self._answers[branch]} if frozen else inputs
        due = step % self._settings.cache_interval == 0 or (gates and step == at)
        if not due and branch in self._features:
            return self._call(shallow, given | {"feature": self._features[branch]})["prediction"]
        outputs = self._call(full, given)
        self._features[branch] = outputs["feature"]
        if gates and not frozen:
            self._answers[branch] = outputs["attention"]
        return outputs["prediction"]

    def _forecast(self, branch: str, inputs: Arrays, step: int) -> Floats:
        state = self._call("denoiser_first", inputs)
        del state["probe"]
        given = {name: value for name, value in inputs.items() if name != "sample"} | state
        course = self._courses.get(branch)
        if course is None or step % self._settings.cache_interval == 0:
            feature = self._call("denoiser_rest", given)["feature"]
            order = self._settings.forecast_order
            course = _Course(step, (feature,)) if course is None else course.after(feature, step, order)
            self._courses[branch] = course
        return self._call("denoiser_last", given | {"feature": course.forecast(step)})["prediction"]

    def _staged(self, branch: str, inputs: Arrays, step: int, pictures: Pictures) -> Floats:
        assert self._reuse is not None
        state = self._call("denoiser_first", inputs)
        probe: Floats = state.pop("probe")
        given = {name: value for name, value in inputs.items() if name != "sample"} | state
        kept = self._kept.get(branch)
        if kept is None:
            self._kept[branch] = kept = Kept.of(self._call("denoiser_rest", given)["feature"], probe)
        else:
            due = stale(self._reuse, kept, probe, step, self._steps, pictures)
            if due.any():
                some = given if due.all() else {name: value[due] for name, value in given.items()}
                kept.renew(due, self._call("denoiser_rest", some)["feature"])
        return self._call("denoiser_last", given | {"feature": kept.feature})["prediction"]


def shrink(latent: Floats) -> Floats:
    """Half the size: of unit noise, (..., h, w), the unit noise that is its coarse part."""
    height, width = latent.shape[-2] // 2, latent.shape[-1] // 2
    blocks = latent.reshape(*latent.shape[:-2], height, 2, width, 2)
    halved: Floats = (blocks.sum(axis=(-3, -1)) * 0.5).astype(np.float32)
    return halved


def enlarge(latent: Floats) -> Floats:
    """Twice the size, (..., h, w) to (..., 2 h, 2 w), bilinear."""
    for axis in (-2, -1):
        moved = np.moveaxis(latent, axis, -1)
        before = np.concatenate([moved[..., :1], moved[..., :-1]], axis=-1)
        after = np.concatenate([moved[..., 1:], moved[..., -1:]], axis=-1)
        pair = np.stack([0.25 * before + 0.75 * moved, 0.75 * moved + 0.25 * after], axis=-1)
        latent = np.moveaxis(pair.reshape(*moved.shape[:-1], -1), -1, axis)
    return np.ascontiguousarray(latent, dtype=np.float32)
