"""Pictures of both sides of a pair for the same prompts and seeds: made once, kept in the pair's run folder.

Each prompt is one call at batch 1, light and heavy in turn, so that the time
of each picture is its latency.  What is there is never made again: an
interrupted job goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.sandbox import Answer
from engines.package.runner import read_picture, write_picture
from studio.errors import CascadeError, RunError
from studio.record.sides import Pair, Side, label_of
from studio.work.cascade.files import kept_seconds
from studio.work.drawing import Drawing

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

PICTURES: Final = "cascade/pictures"
_TIMES: Final = "times.jsonl"
_TOGETHER: Final = 4
_WARM: Final = 1 << 42
"""Seed of the picture that warms a process up and is thrown away."""


@dataclass(frozen=True, eq=False)
class Album:
    """One side's pictures, in the order of the prompts."""

    images: Pixels
    """(N, H, W, 3)"""
    seconds: Floats
    """(N,) on this side's clock, from request to last byte."""
    files: tuple[str, ...]
    """PNGs relative to the run folder."""


class _Shelf:
    """The kept pictures of one side, named by what decides them; `run`: the folder of the pair's run."""

    def __init__(self, run: Path, side: Side) -> None:
        self.run, self.side = run, side
        script = hashlib.sha256(side.script).hexdigest()
        self.folder = run / PICTURES / label_of(side.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        started = side.started
        facts = [started.model.hash, started.target, started.workload, script]
        self._facts = json.dumps(facts, sort_keys=True)
        self._seconds = kept_seconds(self.folder / _TIMES)

    def path(self, prompt: str, seed: int) -> Path:
        key = hashlib.sha256(f"{self._facts}\n{seed}\n{prompt}".encode()).hexdigest()[:24]
        return self.folder / f"{key}.png"

    def has(self, prompt: str, seed: int) -> bool:
        path = self.path(prompt, seed)
        return path.stem in self._seconds and path.is_file()

    def keep(self, prompt: str, seed: int, picture: Pixels, seconds: float) -> None:
        path = self.path(prompt, seed)
        write_picture(picture, path)
        with (self.folder / _TIMES).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": path.stem, "seconds": seconds}) + "\n")
        self._seconds[path.stem] = seconds

    def album(self, prompts: Sequence[str], seeds: Sequence[int]) -> Album:
        paths = [self.path(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        return Album(
            images=np.stack([read_picture(path) for path in paths]),
            seconds=np.array([self._seconds[path.stem] for path in paths]),
            files=tuple(path.relative_to(self.run).as_posix() for path in paths),
        )


class Easel:
    """Both sides, each with its own run's model and workload, loaded when the first picture is missing."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self._stack = ExitStack()
        self._drawings: dict[Path, Drawing] = {}

    def shelf(self, side: Side) -> _Shelf:
        return _Shelf(self.pair.run, side)

    def draw(self, side: Side, prompts: Sequence[str], seeds: Sequence[int]) -> Answer:
        """Pictures by a side's own script, and their time.

        Raises:
            CascadeError: it cannot draw any more.
        """
        try:
            if side.run not in self._drawings:
                self._drawings[side.run] = self._stack.enter_context(Drawing(side.run, side.state))
            return self._drawings[side.run].draw(side.candidate.id, prompts, seeds)
        except RunError as error:
            where = "" if side.run == self.pair.run else f"In the run {side.run.name}: "
            raise CascadeError(f"{where}{error}") from error

    def __enter__(self) -> Easel:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def make_pictures(
    easel: Easel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    on_progress: Callable[[int, str], None],
) -> tuple[Album, Album]:
    """The pictures of both sides; `on_progress(pictures done, doing)`.

    Raises:
        CascadeError: a candidate cannot draw any more.
    """
    shelves = [easel.shelf(side) for side in easel.pair]
    asked = list(zip(prompts, seeds, strict=True))
    if not all(shelf.has(*one) for shelf in shelves for one in asked):
        on_progress(0, "Loading light and heavy")
        _fill(easel, shelves, asked, on_progress)
    light, heavy = (shelf.album(prompts, seeds) for shelf in shelves)
    if light.images.shape != heavy.images.shape:
        raise CascadeError("Light and heavy make pictures of different sizes; choose another pair.")
    return light, heavy


def practise(
    easel: Easel,
    side: Side,
    prompts: Sequence[str],
    seeds: Sequence[int],
    on_progress: Callable[[int, str], None],
) -> Pixels:
    """Pictures (N, H, W, 3) of one side alone, several at a call.

    Raises:
        CascadeError: it cannot draw any more.
    """
    shelf = easel.shelf(side)
    missing = [one for one in zip(prompts, seeds, strict=True) if not shelf.has(*one)]
    for at in range(0, len(missing), _TOGETHER):
        done = len(prompts) - len(missing) + at
        on_progress(done, f"Practice pictures with {side.name}, {done} of {len(prompts)}")
        part = missing[at : at + _TOGETHER]
        answer = easel.draw(side, [one[0] for one in part], [one[1] for one in part])
        for (prompt, seed), picture in zip(part, answer.images, strict=True):
            shelf.keep(prompt, seed, picture, answer.seconds / len(part))
    return shelf.album(prompts, seeds).images


def _fill(
    easel: Easel,
    shelves: list[_Shelf],
    asked: list[tuple[str, int]],
    on_progress: Callable[[int, str], None],
) -> None:
    done = 0
    warm: set[str] = set()
    for prompt, seed in asked:
        for shelf in shelves:
            name = shelf.side.name
            on_progress(done, f"Drawing with {name}: {prompt[:60]}")
            done += 1
            if shelf.has(prompt, seed):
                continue
            if name not in warm:
                easel.draw(shelf.side, [prompt], [_WARM])
                warm.add(name)
            answer = easel.draw(shelf.side, [prompt], [seed])
            shelf.keep(prompt, seed, answer.images[0], answer.seconds)
