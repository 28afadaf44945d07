"""An engine process of known latency: sleeps as long as it is told to, and draws one pixel.

    python -m tests.engines.stub_engine --batch 4 --base 0.02 --each 0.005 [--score]

The score of a prompt is the number that it begins with, else 0.5.  Prompts that begin with
`die` end the process while it draws, `refuse` are refused, `hang` never end.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from engines.package.serving.engine import WARM_PROMPT, Pictures, serve_engine, sizes_to_warm
from engines.package.variants import Choice


class Stub:
    def __init__(self, base: float, each: float, score: bool, log: Path | None) -> None:
        self.base, self.each, self.score, self.log = base, each, score, log

    @property
    def choices(self) -> tuple[Choice, ...]:
        return (Choice("denoiser", "stub-cpu-fp32", (), 1),)

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> Pictures:
        real = [prompt for prompt in prompts if prompt != WARM_PROMPT]
        if self.log is not None and real:
            with self.log.open("a") as file:
                file.write("".join(f"{seed} {os.getpid()}\n" for seed in seeds))
        if any(prompt.startswith("refuse") for prompt in prompts):
            raise ValueError("this prompt cannot be drawn")
        if any(prompt.startswith("die") for prompt in real):
            print("the stub was told to die", file=sys.stderr, flush=True)
            os._exit(9)
        start = time.perf_counter()
        time.sleep(3600 if any(prompt.startswith("hang") for prompt in real) else self.seconds(len(prompts)))
        pngs = [f"PNG {os.getpid()} {seed}".encode() for seed in seeds]
        scores = [_score(prompt) for prompt in prompts] if self.score else None
        return Pictures(pngs, scores, time.perf_counter() - start, 0.0)

    def seconds(self, batch: int) -> float:
        return self.base + self.each * batch


def make(_folder: str, role: str, _batch: int) -> Stub:
    """For a cluster: light 10 ms and 2 a picture, heavy 20 and 4."""
    return Stub(0.01, 0.002, True, None) if role == "light" else Stub(0.02, 0.004, False, None)


def _score(prompt: str) -> float:
    try:
        return float(prompt.split()[0])
    except (ValueError, IndexError):
        return 0.5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--base", type=float, default=0.0)
    parser.add_argument("--each", type=float, default=0.0)
    parser.add_argument("--score", action="store_true")
    parser.add_argument("--log", type=Path)
    given = parser.parse_args()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    serve_engine(
        Stub(given.base, given.each, given.score, given.log), sys.stdin, answers, sizes_to_warm(given.batch)
    )


if __name__ == "__main__":
    main()
