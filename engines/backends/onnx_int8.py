"""ONNX files that compute convolutions and matrix products in 8 bits: QDQ with calibrated activations."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engines.backends.onnx_files import LARGEST, files, quiet
from engines.backends.onnx_weights import upright
from engines.capture.capture import Arrays

if TYPE_CHECKING:
    from onnx import ModelProto

FORM: Final = "int8 weights, products in floats"
"""Change it when the same file is quantised otherwise."""


def quantise(
    source: Path, target: Path, samples: Sequence[Arrays], *, signed: bool = False, half_range: bool = False
) -> None:
    """Static QDQ of convolutions and of products with a weight: int8 weights by channel, 8-bit activations.

    Products give floats (`MatMulIntegerToFloat`), and attention's own stay in floats: its scores reach wider
    than eight bits tell apart.

    Args:
        signed: activations symmetric in int8, which TensorRT asks for; else uint8 with a zero point.
        half_range: weights in seven bits (`engines.backends.half_range`).
    """
    import onnx
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

    extra: dict[str, Any] = {"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]}
    if signed:
        extra |= {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
    size = sum(path.stat().st_size for path in files(source))
    with quiet(), tempfile.TemporaryDirectory(dir=target.parent) as folder:
        model = upright(onnx.load(str(source)))
        between = _between_activations(model)
        standing = Path(folder) / source.name
        onnx.save(model, standing, save_as_external_data=size > LARGEST, location=f"{source.name}.data")
        del model
        quantize_static(
            str(standing),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MatMul", "Gemm"],
            nodes_to_exclude=between,
            per_channel=True,
            reduce_range=half_range,
            activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            use_external_data_format=size > 4 * LARGEST,
            extra_options=extra,
        )


def _between_activations(model: ModelProto) -> list[str]:
    """Products without a weight: attention's."""
    weights = {one.name for one in model.graph.initializer}
    return [
        node.name for node in model.graph.node if node.op_type == "MatMul" and not weights & set(node.input)
    ]
