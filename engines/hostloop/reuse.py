"""By which rule a step may re-use what the blocks of the denoiser added at the last whole pass.

residual: first-block caching (ParaAttention), and with more blocks in front and behind DBCache (cache-dit):
re-used while what the front blocks add has changed by less than the threshold since the last whole pass.
modulated: TeaCache (Liu et al., arXiv 2411.19108): at every step the change of the first block's
timestep-modulated input since the step before, put through a curve measured on this model, is added up;
a whole pass is due where the sum reaches the threshold.
magnitude: MagCache (Ma et al., arXiv 2506.09045): by ratios of magnitudes measured on this model and number
of steps; the error of re-using, as they tell it, is added up until it reaches the threshold.

Each picture decides for itself, so that it does not depend on its batch; both of its passes go together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .errors import LoopError
from .settings import LoopSettings, Reuse

Floats = NDArray[np.float32]
Rows = NDArray[np.bool_]
Pictures = NDArray[np.int64]
LONGEST: Final = 3
"""Steps in a row that may re-use one whole pass, where `cache_threshold` alone says when."""


def reuse_of(settings: LoopSettings) -> Reuse | None:
    """The rule that settings ask for; `None` where the blocks run at every step.

    Raises:
        LoopError: two rules at once, or numbers that make no sense.
    """
    reuse = settings.reuse
    if settings.cache_threshold > 0:
        if reuse is not None:
            raise LoopError("Settings make no sense: of cache_threshold and reuse one can be used.")
        return Reuse("residual", settings.cache_threshold, longest=LONGEST)
    if reuse is not None and not (reuse.threshold >= 0 and reuse.longest >= 0 and 0 <= reuse.warm < 1):
        raise LoopError(
            "Settings make no sense: of reuse, threshold and longest must not be below 0, and warm must be at"
            " least 0 and below 1."
        )
    return reuse


def warm_steps(reuse: Reuse, steps: int) -> int:
    """How many steps, from the first, are whole."""
    return max(1, math.ceil(reuse.warm * steps - 1e-9))


def whole_at_least(reuse: Reuse, steps: int) -> list[int]:
    """The fewest steps that are whole, whatever the data say."""
    warm = warm_steps(reuse, steps)
    found = list(range(min(warm, steps)))
    if reuse.longest:
        found += range(warm + reuse.longest, steps, reuse.longest + 1)
    if _ends_whole(reuse) and found[-1:] != [steps - 1]:
        found.append(steps - 1)
    return found


def _ends_whole(reuse: Reuse) -> bool:
    return reuse.rule == "modulated"


@dataclass
class Kept:
    """What one branch of guidance keeps of its last whole pass, a row for each row that it is given."""

    feature: Floats
    probe: Floats
    age: NDArray[np.int64]
    """Steps that re-used it."""
    total: NDArray[np.float64]
    """What the rule has added up since."""
    ratio: NDArray[np.float64]
    """Of `magnitude`: by how much what the blocks add has grown since."""

    @classmethod
    def of(cls, feature: Floats, probe: Floats) -> Kept:
        """Of a first whole pass."""
        count = len(probe)
        return cls(feature, probe, np.zeros(count, np.int64), np.zeros(count), np.ones(count))

    def rows(self, which: Rows | slice) -> Kept:
        """Some of them."""
        return Kept(
            self.feature[which], self.probe[which], self.age[which], self.total[which], self.ratio[which]
        )

    def renew(self, rows: Rows, feature: Floats) -> None:
        """Some rows had a whole pass, whose answers these are."""
        found = self.feature.copy()
        found[rows] = feature
        self.feature = found
        self.age[rows], self.total[rows], self.ratio[rows] = 0, 0.0, 1.0


def stale(reuse: Reuse, kept: Kept, probe: Floats, step: int, steps: int, pictures: Pictures) -> Rows:
    """Rows (B,) for which a whole pass is due; `kept` goes on by a step.

    `probe` (B, ...) is what the front of the denoiser shows at this step; `pictures` (B,) which picture each
    row is a pass of.
    """
    due = _due(reuse, kept, probe, step, pictures)
    if reuse.longest:
        due = due | (kept.age >= reuse.longest)
    if step < warm_steps(reuse, steps) or (_ends_whole(reuse) and step == steps - 1):
        due = np.ones(len(probe), np.bool_)
    kept.age += 1
    # the modulated input is compared with the step before, what blocks add with the last whole pass
    moved = np.ones_like(due) if reuse.rule == "modulated" else due
    kept.probe = np.where(_wide(moved, probe), probe, kept.probe)
    return due


def _due(reuse: Reuse, kept: Kept, probe: Floats, step: int, pictures: Pictures) -> Rows:
    match reuse.rule:
        case "residual":
            return _change(kept.probe, probe, pictures) > reuse.threshold
        case "modulated":
            if not reuse.curve:
                raise _not_measured("curve")
            kept.total += curved(reuse, _change(kept.probe, probe, pictures))
        case "magnitude":
            if len(reuse.ratios) <= step:
                raise _not_measured("ratios")
            kept.ratio *= reuse.ratios[step]
            kept.total += np.abs(1.0 - kept.ratio)
    return kept.total >= reuse.threshold


def _not_measured(what: str) -> LoopError:
    return LoopError(f"The cache's {what} was not measured for this model; build the pipeline again.")


def curved(reuse: Reuse, change: NDArray[np.float64]) -> NDArray[np.float64]:
    """The change of the output that goes with changes of the input; nothing is guessed outside the span."""
    found: NDArray[np.float64] = np.polyval(np.array(reuse.curve), np.clip(change, *reuse.span))
    return np.maximum(found, 0.0)


def relative_change(before: NDArray[Any], now: NDArray[Any]) -> NDArray[np.float64]:
    """Sum of absolute changes over the sum of absolute values before, by row (B,)."""
    return _change(before, now, np.arange(len(now)))


def _change(before: NDArray[Any], now: NDArray[Any], pictures: Pictures) -> NDArray[np.float64]:
    axes = tuple(range(1, now.ndim))
    change, size = np.abs(now - before).sum(axes), np.abs(before).sum(axes)
    # both passes of a picture, as long as there are two, go together
    change, size = (np.bincount(pictures, one)[pictures] for one in (change, size))
    found = np.where(change > 0, np.inf, 0.0)
    np.divide(change, size, out=found, where=size > 0)
    return found


def _wide(rows: Rows, like: Floats) -> Rows:
    return rows.reshape(-1, *(1,) * (like.ndim - 1))
