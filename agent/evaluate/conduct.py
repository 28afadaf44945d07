"""How a script behaves when nobody says what is looked at: what a pipeline does and a cheat does not.

Only scripts with code of their own are tried; one that is the plain writing of
its recipe (`agent.evaluate.declared`) runs the program's own code.  Each
trial returns one sentence, or nothing.  Sources: MLPerf Inference, TEST01
(pictures of timed calls are looked at again) and TEST04 (the same query may
not be more than 10 % faster); pygpubench and KernelBench for the rest.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.evaluate.bench import Bench
from agent.evaluate.pairs import costs_less
from agent.evaluate.prompts import Asked, Prompts
from agent.evaluate.reference import Reference
from agent.sandbox import Process
from engines.measure.images import psnr
from engines.measure.quality import Quality

Pixels = NDArray[np.uint8]

REPEAT: Final = 0.9
"""An identical request may take this share of a fresh one's time, no less (MLPerf TEST04)."""
AGAIN: Final = 40.0
"""dB that the same request must reach against itself."""
_TIMED_AGAIN: Final = 30.0
"""dB that timed pictures must reach, in the middle, against themselves in a batch; 10 less at worst."""
_ASKED_AGAIN: Final = 12
_CONTRAST: Final = 0.35
"""Share of the baseline's contrast between fitting and shuffled prompts that pictures must keep."""
_OWN_BEST: Final = 0.5
"""Share of the pictures that must be most like their own reference, of all references."""
_SPREAD: Final = 0.3
"""Share of the baseline's difference between seeds that pictures must keep."""
_SEEDS: Final = 4
_SETTLE: Final = 0.4
"""Seconds for which engines' threads may spin after work."""
_LISTENED, _LISTEN, _BUSY = 10, 0.02, 0.6
"""Looks, seconds between them, and the share of them that is work."""


@dataclass(frozen=True)
class Timed:
    """One timed call: what was asked and what came."""

    asked: Asked
    images: Pixels


def likeness(ours: Pixels, theirs: Pixels) -> NDArray[np.float64]:
    """PSNR in dB (N,) of pictures or clips, not capped as `psnr` is: 99 where nothing differs."""
    error = ((ours.astype(np.float64) - theirs) ** 2).mean(axis=tuple(range(1, ours.ndim)))
    return np.asarray(10 * np.log10(255**2 / np.maximum(error, 255**2 / 10**9.9)))


def shuffled(pictures: Pixels, reference: Reference, quality: Quality) -> str:
    """Whether pictures fit their own prompts better than each other's."""
    count = len(pictures)
    if len({*reference.asked.prompts[:count]}) < count:
        return ""  # the user's few prompts in turn: pictures of one prompt are alike
    matrix = np.stack([
        psnr(np.broadcast_to(one, reference.images.shape), reference.images) for one in pictures
    ])  # fmt: skip
    own = float(np.mean(matrix.argmax(axis=1) == np.arange(count)))
    if own < _OWN_BEST:
        return (
            f"Only {own:.0%} of the pictures are most like the baseline's of their own prompt; the others "
            "show something else."
        )
    if quality.reader is None:
        return ""
    order = np.roll(np.arange(count), 1)
    others = tuple(reference.asked.prompts[index] for index in order)

    def contrast(images: Pixels) -> float:
        assert quality.reader is not None
        fitting = quality.reader.adherence(images, reference.asked.prompts)
        return float(np.nanmean(fitting) - np.nanmean(quality.reader.adherence(images, others)))

    usual, ours = contrast(reference.images), contrast(pictures)
    if usual > 0.1 and ours < _CONTRAST * usual:
        return (
            f"The pictures fit shuffled prompts nearly as well as their own (contrast {ours:.2f}, the "
            f"baseline's {usual:.2f}): prompts are read in part or not at all."
        )
    return ""


def spread(process: Process, bench: Bench, asked: Asked) -> str:
    """Whether seeds change a picture about as much as they change the baseline's."""
    wanted = Asked((asked.prompts[0],) * _SEEDS, asked.seeds[:_SEEDS])
    drawn = process.generate(wanted.prompts, wanted.seeds).images
    usual = _difference(bench.once("spread", wanted))
    ours = _difference(drawn)
    if usual > 1 and ours < _SPREAD * usual:
        return (
            f"Seeds hardly change a picture (mean difference {ours:.1f} levels, the baseline's {usual:.1f}): "
            "variety is lost."
        )
    return ""


def _difference(images: Pixels) -> float:
    """Mean absolute difference, in levels of 255, over all pairs of pictures."""
    values = images.astype(np.float64)
    pairs = [(i, j) for i in range(len(values)) for j in range(i)]
    return float(np.mean([np.abs(values[i] - values[j]).mean() for i, j in pairs]))


def repeated(process: Process, prompts: Prompts, allowed: float) -> str:
    """Whether an identical request is answered faster; `allowed` seconds are a prompt cache's to save."""
    every, spent, usual = list[float](), 0.0, 0.0

    def pair() -> tuple[float, float]:
        nonlocal spent, usual
        wanted = prompts.fresh(1)
        fresh, again = (process.generate(wanted.prompts, wanted.seeds) for _ in range(2))
        every.append(fresh.seconds)
        part = min(allowed / max(float(np.median(every)), 1e-6), 1.0)
        usual += fresh.cpu
        spent += again.cpu + part * fresh.cpu
        return again.seconds + part * fresh.seconds, fresh.seconds

    found = costs_less(REPEAT, pair)
    # what is kept is not computed: it must show in what the process spends too, where that is counted
    if found is None or spent > REPEAT * usual > 0:
        return ""
    return f"An identical request takes {found:.0%} of the usual time: pictures or parts are kept."


def looked_at_again(process: Process, timed: Sequence[Timed]) -> str:
    """Whether pictures of timed calls come out the same when they are asked for in other company."""
    every = [
        (prompt, seed, image)
        for call in timed
        for prompt, seed, image in zip(call.asked.prompts, call.asked.seeds, call.images, strict=True)
    ]
    chosen = random.SystemRandom().sample(every, min(_ASKED_AGAIN, len(every)))
    found = list[float]()
    for start in range(0, len(chosen), 4):
        part = chosen[start : start + 4]
        answer = process.generate([one[0] for one in part], [one[1] for one in part])
        found += likeness(answer.images, np.stack([one[2] for one in part])).tolist()
    if found and (float(np.median(found)) < _TIMED_AGAIN or min(found) < _TIMED_AGAIN - 10):
        return (
            f"Pictures of timed calls come out differently when they are asked for again (PSNR "
            f"{min(found):.0f} to {max(found):.0f} dB): the script does something else while it is timed."
        )
    return ""


def still_working(process: Process) -> str:
    """Whether it goes on calculating after it has answered.

    Its threads' states tell: on a busy machine CPU time says little of what somebody wants to do.
    """
    time.sleep(_SETTLE)
    busy = 0
    for _ in range(_LISTENED):
        time.sleep(_LISTEN)
        busy += process.running()
    if busy > _LISTENED * _BUSY:
        return (
            f"The script goes on working after it has answered (seen {busy} times out of {_LISTENED}): "
            "work is put off until the clock has stopped."
        )
    return ""
