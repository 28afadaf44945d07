"""What int8 in half the range saves on this processor, and costs where nothing saturates.

python -m engines.backends.half_range_cost [MODEL]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from engines.backends.guard import Component

if TYPE_CHECKING:
    from engines.capture.capture import Arrays, Capture

CASES: Final = 8
"""Samples of the calibration set that are compared."""

Both = tuple[Component, Component]
"""With the products added in floats, and by the processor's 8-bit kernels."""


@dataclass(frozen=True, slots=True)
class Range:
    """A component on an engine, its weights in the whole range or in half of it."""

    engine: str
    component: str
    half: bool
    exact: float
    """dB against the file in fp32, mean of the cases, sums in floats."""
    here: float
    """The same by this processor's kernels."""


def ranges(source: str) -> list[Range]:
    """Measure a model's denoiser and decoder on ONNX Runtime and OpenVINO.

    Raises:
        EngineError: the model cannot be opened, or an engine is missing.
    """
    from engines.backends import parity
    from engines.backends.calibration import calibration_for
    from engines.capture.capture import Capture
    from engines.capture.structure import Structure
    from engines.models.load import open_model
    from engines.pipeline import plan
    from engines.workload import Workload

    model = open_model(source)
    made = plan(model, "cpu", Workload())
    calibration = calibration_for(model, made.denoiser, made.loop)
    found = []
    for component in ("denoiser", "decoder"):
        capture = Capture(model, Structure(component, made.loop.latent_shape))
        samples = calibration.samples(component)
        cases = samples[:: max(1, len(samples) // CASES)][:CASES]
        wanted = [capture.reference(one) for one in cases]
        for engine, both in (("onnxruntime", _on_onnx_runtime), ("openvino", _on_openvino)):
            for half in (False, True):
                with tempfile.TemporaryDirectory() as folder:
                    exact, here = both(capture, samples, half, Path(folder))
                    close = [
                        [parity.compare(run(one), want)["psnr"] for run in (exact, here)]
                        for one, want in zip(cases, wanted, strict=True)
                    ]
                found.append(Range(engine, component, half, *map(float, np.mean(close, axis=0))))
    return found


def _on_onnx_runtime(capture: Capture, samples: Sequence[Arrays], half: bool, folder: Path) -> Both:
    from engines.backends.onnx_files import MODEL, converted
    from engines.backends.onnx_int8 import quantise
    from engines.backends.onnx_runtime import OPTIONS, OnnxRuntime
    from engines.backends.providers import OnnxComponent

    path = folder / MODEL
    quantise(converted(capture, OnnxRuntime().version()) / MODEL, path, samples, half_range=half)
    unfused = {**OPTIONS, "session.disable_quant_qdq": "1"}
    return OnnxComponent(path, unfused), OnnxComponent(path, OPTIONS)


def _on_openvino(capture: Capture, samples: Sequence[Arrays], half: bool, folder: Path) -> Both:
    import openvino

    from engines.backends import open_vino

    source = open_vino.converted(capture, open_vino.OpenVino().version()) / open_vino.MODEL
    path = folder / open_vino.MODEL
    model = open_vino.quantise(openvino.Core().read_model(source), capture, samples, half_range=half)
    openvino.save_model(model, path, compress_to_fp16=False)
    shapes = {spec.name: spec.shape for spec in capture.inputs}
    outputs = [spec.name for spec in capture.outputs]
    usual = open_vino.properties("int8")
    exact = {**usual, "LP_TRANSFORMS_MODE": "NO"}  # the plugin's own switch for 8-bit kernels
    return (
        open_vino.OpenVinoComponent(path, shapes, outputs, exact),
        open_vino.OpenVinoComponent(path, shapes, outputs, usual),
    )


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    source = arguments[0] if arguments else "tiny-scenes"
    print(f"int8 of {source} against eager fp32, {CASES} samples of the calibration set")
    print("| Engine | Component | Weights | Sums in floats | This processor |\n|---|---|---|--:|--:|")
    for one in ranges(source):
        weights = "half the range" if one.half else "whole range"
        print(
            f"| {one.engine} | {one.component} | {weights} | {one.exact:.1f} dB | {one.here:.1f} dB |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:2])
