"""An engine process: one model of a package, drawing whole batches for the server.

    python run.py --engine light --sizes 1,2,4

One JSON line, then raw bytes, in each direction:

    first    {"ready": true, "seconds": {"1": 0.1, ...}, "variants": {component: {...}, ...}}
             seconds by batch size, measured while warming up; variants as `variants.facts_of` has them
    request  {"id": 7, "prompts": [...], "seeds": [...]}
    answer   {"id": 7, "ok": true, "bytes": [n, ...], "scores": [s, ...] or null, "draw": s, "score": s}
             and the PNGs, one after the other; with "variants" where they changed: a decoder may give way
    answer   {"id": 7, "ok": false, "error": "one sentence"}

It ends when its input does: a server that is gone leaves nothing behind.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final, Protocol

from engines.package.variants import Choice, facts_of

WARM_PROMPT: Final = "a picture"
_LONG: Final = 15.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """A batch, encoded; `scores` of a light model only."""

    pngs: Sequence[bytes]
    scores: Sequence[float] | None
    draw: float
    """Seconds."""
    score: float


class Engine(Protocol):
    """What serves one model."""

    @property
    def choices(self) -> Sequence[Choice]:
        """The variants that it runs, and why none before them."""
        ...

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> Pictures:
        """One PNG for each prompt and its seed."""
        ...


def sizes_to_warm(batch: int) -> list[int]:
    """Batch sizes that an engine is made ready for: powers of two, and the largest."""
    return sorted({*(2**k for k in range(11) if 2**k < batch), batch})


def warm_up(engine: Engine, sizes: Iterable[int]) -> dict[int, float]:
    """Draw each batch size, encoding included; seconds of the second time: at first an engine compiles.

    Where the first takes long, compiling is little of it and there is no second.
    """
    found = {}
    for size in sizes:
        for _ in range(2):
            start = time.perf_counter()
            engine.draw([WARM_PROMPT] * size, list(range(size)))
            found[size] = time.perf_counter() - start
            if found[size] > _LONG:
                break
    return found


def serve_engine(engine: Engine, requests: IO[Any], answers: IO[bytes], sizes: Sequence[int] = (1,)) -> None:
    """Warm up, say so, then answer one batch after another until the input ends."""
    # Ctrl-C in a terminal reaches every process of the group; it is the server that decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ready = {"ready": True, "seconds": warm_up(engine, sizes), "variants": facts_of(engine.choices)}
    _send(answers, ready)
    told = ready["variants"]
    for line in requests:
        request = json.loads(line)
        prompts, seeds = request["prompts"], request["seeds"]
        count = len(prompts)
        # A size that was not warmed would first be compiled for; the rest of a larger one is cheaper.
        spare = next((size for size in sizes if size >= count), count) - count
        try:
            found = engine.draw([*prompts, *prompts[:1] * spare], [*seeds, *seeds[:1] * spare])
        except Exception as error:  # noqa: BLE001 - the process must answer, the server decides what follows
            text = " ".join(str(error).split())[:300] or type(error).__name__
            _send(answers, {"id": request["id"], "ok": False, "error": text})
            continue
        pngs = list(found.pngs)[:count]
        head = {
            "id": request["id"],
            "ok": True,
            "bytes": [len(png) for png in pngs],
            "scores": None if found.scores is None else [float(one) for one in found.scores][:count],
            "draw": found.draw,
            "score": found.score,
        }
        if (variants := facts_of(engine.choices)) != told:
            told = head["variants"] = variants
        _send(answers, head, b"".join(pngs))


def _send(answers: IO[bytes], head: dict[str, Any], body: bytes = b"") -> None:
    answers.write(json.dumps(head).encode() + b"\n" + body)
    answers.flush()
