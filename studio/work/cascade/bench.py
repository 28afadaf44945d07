"""Light and heavy of a pair in this process, to start heavy in the middle, and the pictures they drew."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from engines.package.runner import read_picture, write_picture
from studio.errors import CascadeError
from studio.plan.reuse import Kind, Through
from studio.record.sides import Pair, Side
from studio.work.cascade.files import kept_seconds
from studio.work.cascade.models import opened_both, same_autoencoder

if TYPE_CHECKING:
    from engines.hostloop.loop import Loop
    from engines.models.model import Model
    from engines.pipeline import Pipeline

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

FOLDER: Final = "reuse"
"""In the folder of a pair."""
LIGHT: Final = "light"
_LINES: Final = "times.jsonl"


@dataclass(frozen=True, eq=False)
class Way:
    """One way for heavy to go on: from the start, or from what light made."""

    key: str
    kind: Kind
    title: str
    strength: float | None
    steps: int
    loop: Loop


class Bench:
    """Light and heavy as their recipes make them, in this process, and what they drew.

    `pixels`: hand the light picture over even where the latent could be.
    """

    def __init__(self, pair: Pair, *, pixels: bool) -> None:
        self.run, self.folder = pair.run, pair.place / FOLDER
        self.light_model, self.heavy_model = opened_both(pair)
        self.model = self.light_model if pair.own is pair.light else self.heavy_model
        for side in pair:
            _check(side)
        self.light = _pipeline(pair.light, self.light_model)
        self.heavy = _pipeline(pair.heavy, self.heavy_model)
        settings = (self.light.plan.loop, self.heavy.plan.loop)
        if any(not one.steps for one in settings):
            raise CascadeError("A model that denoises nothing has no steps to start late in.")
        self.through, self.handed = self._hand_over(pixels=pixels)
        self._light = self._loop(self.light, self.light_model)
        self.folder.mkdir(parents=True, exist_ok=True)
        facts = [asdict(self.light.plan), asdict(self.heavy.plan), self.through, self.light_model.hash]
        facts += [self.heavy_model.hash] if pair.two_models else []
        self._facts = json.dumps(facts, sort_keys=True, default=str)
        self._seconds = kept_seconds(self.folder / _LINES)

    def _hand_over(self, *, pixels: bool) -> tuple[Through, str]:
        """What heavy is given of the light picture, and why, as a sentence."""
        if pixels:
            why = "as was asked"
        elif not same_autoencoder(self.light_model, self.heavy_model):
            why = "for light and heavy have different autoencoders"
        elif self.light.plan.loop.latent_shape != self.heavy.plan.loop.latent_shape:
            why = "for the latents of light and heavy have different shapes"
        else:
            return "latents", "Both have the same autoencoder: the light latent was handed over as it is."
        return "pixels", (
            f"The light picture was handed over through pixels, {why}: decoded, and encoded again by the "
            f"autoencoder of {self.heavy_model.name}."
        )

    def _loop(self, pipeline: Pipeline, model: Model, strength: float = 1.0) -> Loop:
        from engines.hostloop.loop import Loop

        components = {name: one.component for name, one in pipeline.loaded.items()}
        settings = replace(pipeline.plan.loop, batch=1, strength=strength)
        return Loop(components, model.tokenizers, settings)

    def arms(self, strengths: Sequence[float]) -> list[Way]:
        """Heavy from the start, and from each strength at which a step is left, another number each."""
        steps = self.heavy.plan.loop.steps
        whole = self._loop(self.heavy, self.heavy_model)
        found = [Way("heavy", "heavy", "heavy from the start", None, steps, whole)]
        start = "latent" if self.through == "latents" else "picture"
        taken = {0, steps}
        for strength in sorted(strengths):
            left = int(steps * strength + 1e-9)
            if left in taken:
                continue
            taken.add(left)
            title = f"from the light {start}, strength {strength:.2g}"
            loop = self._loop(self.heavy, self.heavy_model, strength)
            found.append(Way(f"s{strength:.3f}", "strength", title, strength, left, loop))
        return found

    def warm(self, ways: Sequence[Way], prompt: str) -> None:
        """Once each, thrown away."""
        start = self.light_latent(prompt, 0)
        for way in ways:
            self._go(way, prompt, 0, start)

    def light_latent(self, prompt: str, seed: int) -> tuple[Floats, Pixels]:
        """The light candidate's latent (1, C, h, w) and picture (1, H, W, 3)."""
        last: list[Floats] = []
        found = self._light.generate([prompt], [seed], lambda done: last.append(done.latent))
        return last[-1], found.images

    def _go(self, way: Way, prompt: str, seed: int, light: tuple[Floats, Pixels]) -> tuple[Pixels, float]:
        start = time.perf_counter()
        if way.kind != "strength":
            made = way.loop.generate([prompt], [seed])
        else:
            latent = light[0] if self.through == "latents" else self._encoded(light[1])
            made = way.loop.generate([prompt], [seed], start=latent)
        return made.images[0], time.perf_counter() - start

    def _encoded(self, picture: Pixels) -> Floats:
        from studio.work.cascade.encode import encoded

        return encoded(self.heavy_model, picture, self.heavy.plan.loop.latent_shape)

    def draw(
        self, ways: Sequence[Way], prompt: str, seed: int, turn: int, *, light_too: bool = False
    ) -> None:
        """Every way once, in another order each turn, unless it was drawn before.

        `light_too`: keep the light picture and its time as well, as `LIGHT`.
        """
        missing = [way for way in ways if not self._has(way.key, prompt, seed)]
        light_too = light_too and not self._has(LIGHT, prompt, seed)
        if not missing and not light_too:
            return
        start = time.perf_counter()
        light = self.light_latent(prompt, seed)
        if light_too:
            self.keep(LIGHT, prompt, seed, light[1][0], time.perf_counter() - start)
        for at in np.random.default_rng(turn).permutation(len(missing)):
            way = missing[int(at)]
            picture, seconds = self._go(way, prompt, seed, light)
            self.keep(way.key, prompt, seed, picture, seconds)

    # -- what is kept -----------------------------------------------------------------------------

    def path(self, key: str, prompt: str, seed: int) -> Path:
        import hashlib

        name = hashlib.sha256(f"{self._facts}\n{key}\n{seed}\n{prompt}".encode()).hexdigest()[:24]
        return self.folder / f"{name}.png"

    def _has(self, key: str, prompt: str, seed: int) -> bool:
        path = self.path(key, prompt, seed)
        return path.stem in self._seconds and path.is_file()

    def has(self, key: str, asked: Sequence[tuple[str, int]]) -> bool:
        return all(self._has(key, *one) for one in asked)

    def keep(self, key: str, prompt: str, seed: int, picture: Pixels, seconds: float) -> None:
        path = self.path(key, prompt, seed)
        write_picture(picture, path)
        with (self.folder / _LINES).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": path.stem, "seconds": seconds}) + "\n")
        self._seconds[path.stem] = seconds

    def images(self, way: Way | str, asked: Sequence[tuple[str, int]]) -> Pixels:
        key = way if isinstance(way, str) else way.key
        return np.stack([read_picture(self.path(key, *one)) for one in asked])

    def seconds(self, key: str, asked: Sequence[tuple[str, int]]) -> NDArray[np.float64]:
        return np.array([self._seconds[self.path(key, *one).stem] for one in asked])

    def files(self, key: str, asked: Sequence[tuple[str, int]]) -> tuple[str, ...]:
        return tuple(self.path(key, *one).relative_to(self.run).as_posix() for one in asked)


def _pipeline(side: Side, model: Model) -> Pipeline:
    from engines.errors import EngineError
    from engines.pipeline import build, plan
    from engines.techniques import from_step
    from engines.workload import Workload

    try:
        recipe = tuple(from_step(step) for step in side.candidate.proposal.recipe)
        workload = Workload.model_validate(side.started.workload)
        return build(plan(model, side.started.target, workload, recipe))
    except EngineError as error:
        raise CascadeError(f"{side.name} cannot be built any more: {error}") from error


def _check(side: Side) -> None:
    """A candidate is started in the middle by its recipe; a script that does more cannot be."""
    from studio.work.exportable import follows_recipe

    proposal = side.candidate.proposal
    if not proposal.recipe and side.candidate.id == "c000":
        return  # the baseline is the model's own loop
    if proposal.origin == "given" or not follows_recipe(side.script.decode("utf-8", "replace")):
        raise CascadeError(
            f"The script of {side.name} does more than its recipe says, so it cannot be started from a "
            "latent; choose a candidate that is its recipe."
        )
