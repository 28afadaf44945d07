"""What more calibration prompts cost and gain: `python -m engines.backends.calibration_size MODEL ENGINE`.

For each number of prompts the denoiser is quantised anew and compared with
eager fp32 on what it receives for other prompts and other noise.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

NUMBERS: Final = (1, 4, 8, 16, 32, 64)
OTHERS: Final = 8
"""Prompts that are only compared on."""
OTHER_SEED: Final = 5_000
"""Added to the seed of the prompts and of the noise of those."""


@dataclass(frozen=True, slots=True)
class Size:
    """One number of prompts."""

    prompts: int
    collecting: float
    """Seconds."""
    building: float
    """Seconds, of the denoiser's engine; 0 where it lay in the cache."""
    psnr: float
    """dB against eager fp32, the mean over all samples."""
    least: float
    """Of the worst sample."""


def sizes(source: str, engine: str, numbers: Sequence[int] = NUMBERS) -> list[Size]:
    """Measure each number.

    Raises:
        EngineError: the model cannot be opened, or the engine has no int8.
    """
    from engines.backends import backend, parity
    from engines.backends.base import Options
    from engines.backends.calibration import calibration_for
    from engines.capture.capture import Capture
    from engines.capture.structure import Structure
    from engines.errors import BuildError
    from engines.models.load import open_model
    from engines.pipeline import plan
    from engines.workload import Workload

    model = open_model(source)
    made = plan(model, "cpu", Workload())
    usual = calibration_for(model, made.denoiser, made.loop)
    capture = Capture(model, Structure("denoiser", made.loop.latent_shape))
    unseen = replace(usual, prompts=OTHERS, seed=usual.seed + OTHER_SEED).samples("denoiser")
    wanted = [capture.reference(inputs) for inputs in unseen]
    found = []
    for number in numbers:
        calibration = replace(usual, prompts=number)
        start = time.monotonic()
        calibration.samples("denoiser")
        collected = time.monotonic()
        artifact = backend(engine).build(capture, Options("int8", calibration=calibration))
        built = time.monotonic()
        if artifact.precision != "int8":
            raise BuildError(" ".join(artifact.fallbacks))
        component = backend(artifact.backend).component_of(artifact)
        each = [
            parity.compare(component(one), reference)["psnr"]
            for one, reference in zip(unseen, wanted, strict=True)
        ]
        found.append(
            Size(number, collected - start, built - collected, float(np.mean(each)), float(np.min(each)))
        )
    return found


def main(arguments: Sequence[str]) -> None:
    source, engine = [*arguments, *("tiny-scenes", "openvino")[len(arguments) :]]
    print(f"int8 denoiser of {source} on {engine}, against eager fp32 on {OTHERS} other prompts")
    print("| Prompts | Collecting | Building | PSNR | Worst |\n|--:|--:|--:|--:|--:|")
    for one in sizes(source, engine):
        print(
            f"| {one.prompts} | {one.collecting:.1f} s | {one.building:.0f} s | {one.psnr:.2f} dB | "
            f"{one.least:.2f} dB |"
        )


if __name__ == "__main__":
    main(sys.argv[1:3])
