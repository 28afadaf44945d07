"""Light, heavy and discriminator out of one package; travels inside it (numpy and the engine's runtime).

The heavy model's components have their plain names and the package's facts are
its own, so that a program which knows no cascades sees a package of the heavy
model.  The light one's components are named `light.*`, its facts lie in
`cascade.light`; `discriminator` is one more component.
"""

from __future__ import annotations

import io
import re
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from engines.errors import PackageError
from engines.package import likeness
from engines.package.runner import Package, Pixels, read_picture
from engines.package.serving.engine import Pictures
from engines.package.variants import Choice, facts_of, fallbacks

LIGHT: Final = "light."
DISCRIMINATOR: Final = "discriminator"

Floats = NDArray[np.float32]
Role = Literal["light", "heavy"]


def roles(package: Package) -> tuple[str, ...]:
    """The models of a package that can be served."""
    return ("light", "heavy") if package.facts.get("cascade") else ("heavy",)


class Member(Package):
    """One model of a package, as if it were a package of its own; its bytes are checked already."""

    def __init__(self, package: Package, role: str) -> None:
        if role not in roles(package):
            raise PackageError(f"This package has no {role} model; it serves {' and '.join(roles(package))}.")
        self.folder, self.id, self.seal, self._everything = package.folder, package.id, package.seal, True
        self.device, self.threads = package.device, package.threads
        self.trust, self.allow_native, self.signature = package.trust, package.allow_native, package.signature
        self.choices: dict[str, Choice] = {}
        self.facts = package.facts["cascade"]["light"] if role == "light" else package.facts
        self.manifest = package.manifest | {
            "components": _components(package.manifest["components"], role),
            "additional_metadata": self.facts,
        }


def _components(components: dict[str, Any], role: str) -> dict[str, Any]:
    if role == "light":
        return {name.removeprefix(LIGHT): body for name, body in components.items() if name.startswith(LIGHT)}
    return {
        name: body
        for name, body in components.items()
        if not name.startswith(LIGHT) and name != DISCRIMINATOR
    }


class Judge:
    """The discriminator: light pictures and their prompts to scores.

    A score is the probability that the light picture is good enough, calibrated inside the engine.
    """

    def __init__(self, package: Package) -> None:
        body = package.manifest["components"].get(DISCRIMINATOR)
        if body is None or not package.facts.get("cascade"):
            raise PackageError("This package is no cascade; it has no discriminator.")
        facts = package.facts["cascade"]["discriminator"]
        self._side, self._words = int(facts["side"]), int(facts["words"])
        self._component = package.load(DISCRIMINATOR, body)

    def scores(self, pictures: Pixels, prompts: Sequence[str]) -> NDArray[np.float64]:
        """(N,) in [0, 1], for pictures (N, H, W, 3)."""
        given = {"pixels": pixels(pictures, self._side), "words": bag(prompts, self._words)}
        found = self._component(given)["score"].reshape(-1).astype(np.float64)
        if found.shape != (len(prompts),) or not np.isfinite(found).all():
            raise PackageError("The discriminator gave a score that is not a number; get the package again.")
        return found


def pixels(pictures: Pixels, side: int) -> Floats:
    """Pictures (N, H, W, 3) as the discriminator wants them: (N, 3, side, side) in [-1, 1], by area."""
    found = pictures.astype(np.float32).transpose(0, 3, 1, 2) / np.float32(127.5) - 1
    for axis in (2, 3):
        if found.shape[axis] != side:
            found = _averaged(found, side, axis)
    return np.ascontiguousarray(found, dtype=np.float32)


def _averaged(values: Floats, parts: int, axis: int) -> Floats:
    """Means over `parts` windows, as torch's area interpolation has them."""
    length = values.shape[axis]
    first = np.arange(parts) * length // parts
    last = -(-(np.arange(parts) + 1) * length // parts)
    start = np.zeros_like(values.take([0], axis), dtype=np.float64)
    totals = np.concatenate([start, np.cumsum(values, axis, dtype=np.float64)], axis)
    shape = [-1 if at == axis else 1 for at in range(values.ndim)]
    means = (totals.take(last, axis) - totals.take(first, axis)) / (last - first).reshape(shape)
    found: Floats = means.astype(np.float32)
    return found


def bag(prompts: Sequence[str], width: int) -> Floats:
    """Hashed counts (N, width) of words and neighbouring pairs, each row of length 1."""
    rows = np.zeros((len(prompts), width), np.float32)
    for row, prompt in zip(rows, prompts, strict=True):
        words = re.findall(r"\w+", prompt.lower())
        for token in (*words, *(f"{a} {b}" for a, b in pairwise(words))):
            row[zlib.crc32(token.encode()) % width] += 1
        row /= max(float(np.linalg.norm(row)), 1e-6)
    return rows


@dataclass(frozen=True, eq=False)
class Answered:
    """A picture, by which model, and why."""

    picture: Pixels
    decision: Role
    reason: str
    """`score` or `asked`."""
    score: float | None
    seconds: dict[str, float]
    """light, score, heavy."""


class Cascade:
    """Both models in this process; `run.py --prompt` asks it."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self.light, self.heavy = Member(package, "light"), Member(package, "heavy")
        self.threshold = float(package.facts["cascade"]["threshold"])

    @property
    def choices(self) -> list[Choice]:
        """Of both models, and of the discriminator, by the names that the package has for them."""
        light = [replace(one, component=LIGHT + one.component) for one in self.light.choices.values()]
        return [*light, *self.heavy.choices.values(), *self.package.choices.values()]

    @cached_property
    def judge(self) -> Judge:
        return Judge(self.package)

    @cached_property
    def _loops(self) -> dict[str, Any]:
        return {}

    def _draw(self, role: Role, prompt: str, seed: int) -> Pixels:
        if role not in self._loops:
            self._loops[role] = (self.light if role == "light" else self.heavy).loop()
        picture: Pixels = self._loops[role].generate([prompt], [seed]).images[0]
        return picture

    def answer(self, prompt: str, seed: int, route: str = "auto", threshold: float | None = None) -> Answered:
        """Light first, heavy where its score is below the threshold; or the one that is asked for."""
        limit = self.threshold if threshold is None else threshold
        seconds: dict[str, float] = {}
        light: Pixels | None = None
        score: float | None = None
        start = time.perf_counter()
        if route != "heavy":
            light = self._draw("light", prompt, seed)
            seconds["light"] = time.perf_counter() - start
            start = time.perf_counter()
            score = float(self.judge.scores(light[None], [prompt])[0])
            seconds["score"] = time.perf_counter() - start
            if route == "light" or score >= limit:
                return Answered(light, "light", "asked" if route == "light" else "score", score, seconds)
            start = time.perf_counter()
        heavy = self._draw("heavy", prompt, seed)
        seconds["heavy"] = time.perf_counter() - start
        return Answered(heavy, "heavy", "asked" if route == "heavy" else "score", score, seconds)

    def self_test(self) -> dict[str, Any]:
        """Both golden pictures, and the light one's score."""
        light, heavy = self.light.self_test(), self.heavy.self_test()
        facts = self.package.facts["cascade"]["discriminator"]
        golden = self.light.facts["golden"]
        self.package.seal.check([golden["image"]])
        shown = read_picture(self.package.folder / golden["image"])
        score = float(self.judge.scores(shown[None], [golden["prompt"]])[0])
        fits = abs(score - facts["golden_score"]) <= facts["score_tolerance"]
        return heavy | {
            "passed": light["passed"] and heavy["passed"] and fits,
            "psnr": min(light["psnr"], heavy["psnr"]),
            "seconds": light["seconds"] + heavy["seconds"],
            "light": light,
            "heavy": heavy,
            "score": score,
            "score_expected": facts["golden_score"],
            "fallbacks": fallbacks(self.choices),
            "variants": facts_of(self.choices),
        }


class PackageEngine:
    """One model of a package as an engine process serves it: whole batches to PNGs, scores for light ones."""

    def __init__(self, package: Package, role: str, batch: int) -> None:
        self._package, self._member = package, Member(package, role)
        self._loop = self._member.loop(batch=batch)
        self._judge = Judge(package) if role == "light" else None

    @property
    def choices(self) -> list[Choice]:
        """What it draws with, and scores with."""
        return [*self._member.choices.values(), *self._package.choices.values()]

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> Pictures:
        start = time.perf_counter()
        made = self._loop.generate(list(prompts), list(seeds))
        drawn = time.perf_counter()
        scores = None if self._judge is None else self._judge.scores(made.images, prompts).tolist()
        scored = time.perf_counter()
        pngs = [encode(likeness.sheet(one)) for one in made.images]
        return Pictures(pngs, scores, drawn - start, scored - drawn)


def encode(picture: Pixels) -> bytes:
    """A PNG, packed quickly rather than tightly."""
    from PIL import Image

    found = io.BytesIO()
    Image.fromarray(picture).save(found, format="PNG", compress_level=1)
    return found.getvalue()
