"""ONNX Runtime on the CPU: fp32, and int8 as calibrated QDQ.

The ONNX file comes from the captured program by torch's exporter, without its
own optimiser (ONNX Runtime optimises when it opens the file, and the
exporter's passes take longer than the export).
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from engines.backends.base import Arrays, Artifact, Backend, Built, Component, Options
from engines.capture.capture import Capture
from engines.errors import BuildError
from engines.paths import cache_folder, digest, link, locked, new_folder

MODEL: Final = "model.onnx"
OPTIONS: Final[Mapping[str, str]] = {"session.force_spinning_stop": "1"}
"""Session entries.  Threads that go on spinning after a call would steal time from whatever runs next."""
LARGEST: Final = 2**31 - 2**20
"""Bytes that fit into one ONNX file; beyond it weights would lie in a second file."""


class OnnxRuntime(Backend):
    name = "onnxruntime"
    title = "ONNX Runtime"
    packages = ("onnxruntime", "onnx", "onnxscript")
    precisions: ClassVar = {
        "fp32": "",
        "bf16": "ONNX Runtime's CPU kernels compute convolutions in fp32 only",
        "int8": "",
    }

    def _build(self, capture: Capture, options: Options, folder: Path) -> Built:
        source = converted(capture, self.version())
        facts: dict[str, Any] = {"options": dict(OPTIONS)}
        if options.precision == "int8":
            if options.calibration is None:
                raise BuildError("int8 needs calibration data")
            quantise(source / MODEL, folder / MODEL, options.calibration.samples(capture.component))
            facts["calibration"] = options.calibration.facts
        else:
            link(source / MODEL, folder / MODEL)
        return Built((MODEL,), facts)

    def component_of(self, artifact: Artifact) -> Component:
        return OnnxComponent(artifact.folder / MODEL, artifact.metadata["options"])


def converted(capture: Capture, version: str) -> Path:
    """The folder of a capture's ONNX file: what is shipped as fp32 and what int8 starts from."""
    import torch

    folder = cache_folder("onnx") / digest(capture.key, version, torch.__version__)
    with locked(folder):
        if not folder.is_dir():
            with new_folder(folder) as fresh, _quiet():
                program = torch.onnx.export(
                    capture.program,
                    dynamo=True,
                    optimize=False,
                    verbose=False,
                    input_names=[spec.name for spec in capture.inputs],
                    output_names=[spec.name for spec in capture.outputs],
                )
                if program is None:
                    raise BuildError("torch.onnx.export returned nothing")
                program.save(str(fresh / MODEL))
                if (fresh / MODEL).stat().st_size > LARGEST:
                    raise BuildError("its weights do not fit into one ONNX file")
    return folder


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter and the quantiser print and log their progress; an engine's output is its files."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)


def quantise(source: Path, target: Path, samples: Sequence[Arrays]) -> None:
    """Static QDQ of convolutions and matrix products: uint8 activations, int8 weights by channel."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rest = iter(samples)

        def get_next(self) -> Arrays | None:
            return next(self._rest, None)

    with _quiet():
        quantize_static(
            str(source),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MatMul", "Gemm"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )


class OnnxComponent:
    """A session as a function from arrays to arrays; the batch is dynamic."""

    def __init__(self, path: Path, options: Mapping[str, str]) -> None:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        for name, value in options.items():
            settings.add_session_config_entry(name, value)
        self._session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, inputs: Arrays) -> Arrays:
        return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))
