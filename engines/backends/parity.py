"""Is an engine's component the one that eager computes?  Checked on every build, before it is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.errors import BuildError
from engines.plan import Precision

Arrays = Mapping[str, NDArray[Any]]

LEAST_PSNR: Final[Mapping[Precision, float]] = {
    "fp32": 60.0,
    "fp16": 35.0,
    "bf16": 25.0,
    "int8": 22.0,
    "fp8": 15.0,
    "w8": 25.0,
    "w6": 18.0,
    "w4": 10.0,
}
"""dB over the reference's range.  fp32 differs by rounding only; the others must be the same function,
what their error does to pictures is the gate's business (compiling alone can move a picture to 19 dB).
35 dB for fp16 is what Apple asks of a Core ML component."""


def compare(found: Arrays, reference: Arrays) -> dict[str, float]:
    """Largest absolute error and PSNR in dB (worst output) of `found` against `reference`.

    Raises:
        BuildError: another shape, or values that are not finite.
    """
    worst, psnr = 0.0, math.inf
    for name, wanted in reference.items():
        got = found.get(name)
        if got is None or got.shape != wanted.shape:
            shape = None if got is None else got.shape
            raise BuildError(f"its {name} has shape {shape}, eager's has {wanted.shape}")
        if not np.isfinite(got).all():
            raise BuildError(f"its {name} has values that are not finite")
        error = got.astype(np.float64) - wanted
        worst = max(worst, float(np.abs(error).max()))
        span = float(wanted.max() - wanted.min()) or 1.0
        mean_square = float(np.mean(error**2))
        if mean_square > 0:
            psnr = min(psnr, 10 * math.log10(span * span / mean_square))
    return {"max_abs": worst, "psnr": min(psnr, 200.0)}


def check(evidence: Mapping[str, float], precision: Precision) -> None:
    """Raises `BuildError` where an engine differs more than its precision explains."""
    if evidence["psnr"] < LEAST_PSNR[precision]:
        raise BuildError(
            f"it differs from eager by more than {precision} explains"
            f" ({evidence['psnr']:.1f} dB, at least {LEAST_PSNR[precision]:.0f} dB wanted)"
        )
