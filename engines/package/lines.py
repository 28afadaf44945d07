"""`run.py --lines`: one JSON line after another; travels inside the package.

    request  {"prompts": [...], "seeds": [...]}
    answer   {"ok": true, "shape": [N, H, W, 3], "bytes": n, "stages": {...}, "variants": {...},
              "fallbacks": [...]} and n raw bytes
             of a cascade also "answers": [{"decision", "reason", "score"}, ...]
    answer   {"ok": false, "error": "one sentence"}

`variants` has for each component the one that runs and which were passed over; `fallbacks` says the latter
in words.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np

from engines.errors import PackageError
from engines.package import variants
from engines.package.variants import Choice

if TYPE_CHECKING:
    from engines.package.runner import Package, Pixels


class Drawer(Protocol):
    """What answers a request."""

    @property
    def choices(self) -> Sequence[Choice]: ...

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> tuple[Pixels, dict[str, Any]]:
        """Pictures, and what is said of them."""
        ...


class One:
    """A package of one model."""

    def __init__(self, package: Package) -> None:
        self._package, self._loop = package, package.loop()

    @property
    def choices(self) -> Sequence[Choice]:
        return list(self._package.choices.values())

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> tuple[Pixels, dict[str, Any]]:
        made = self._loop.generate(list(prompts), list(seeds))
        return made.images, {"stages": made.seconds}


class Two:
    """A cascade: each prompt is answered light or heavy."""

    def __init__(self, package: Package, route: str, threshold: float | None) -> None:
        from engines.package.cascade import Cascade

        self._cascade, self._route, self._threshold = Cascade(package), route, threshold

    @property
    def choices(self) -> Sequence[Choice]:
        return self._cascade.choices

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> tuple[Pixels, dict[str, Any]]:
        found = [
            self._cascade.answer(prompt, seed, self._route, self._threshold)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        stages: dict[str, float] = {}
        for name, value in (item for one in found for item in one.seconds.items()):
            stages[name] = stages.get(name, 0.0) + value
        answers = [{"decision": one.decision, "reason": one.reason, "score": one.score} for one in found]
        return np.stack([one.picture for one in found]), {"stages": stages, "answers": answers}


def answer_lines(
    package: Package, route: str, threshold: float | None, requests: IO[str], answers: IO[bytes]
) -> None:
    """Answer one line after another until the input ends.

    Variants are said on standard error too, as they change.
    """
    drawer: Drawer = Two(package, route, threshold) if package.facts.get("cascade") else One(package)
    told = _say(drawer, [])
    for line in requests:
        body = b""
        try:
            request = json.loads(line)
            images, said = drawer.draw(
                [str(text) for text in request["prompts"]], [int(n) for n in request["seeds"]]
            )
        except (ValueError, KeyError, TypeError) as error:
            answer: dict[str, Any] = {
                "ok": False,
                "error": f"The request makes no sense ({error}); send prompts and seeds.",
            }
        except PackageError as error:
            answer = {"ok": False, "error": " ".join(str(error).split())}
        else:
            body = images.tobytes()
            answer = {"ok": True, "shape": images.shape, "bytes": len(body)} | said
            answer |= {"variants": variants.facts_of(drawer.choices)}
            answer |= {"fallbacks": variants.fallbacks(drawer.choices)}
        told = _say(drawer, told)
        answers.write(json.dumps(answer).encode() + b"\n" + body)
        answers.flush()


def _say(drawer: Drawer, told: list[str]) -> list[str]:
    """What of the variants was not said yet."""
    words = variants.sentences(drawer.choices)
    for text in words:
        if text not in told:
            print(text, file=sys.stderr, flush=True)
    return words
