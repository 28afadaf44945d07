"""ONNX files whose matrix products keep their weights in 8 or 4 bits, widened in the product.

The operator is ONNX Runtime's MatMulNBits (contrib operators, com.microsoft):
blocks of a column share a scale and a zero point.  Convolutions, norms and the
products of one row (Gemm: embeddings of time and of conditions) stay as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from engines.backends.onnx_files import LARGEST, files, quiet
from engines.backends.onnx_weights import upright
from engines.capture.structure import LOW_RANK

if TYPE_CHECKING:
    from onnx import ModelProto

BLOCK: Final = 32
"""Weights that share a scale."""
OPERATOR: Final = "MatMulNBits"


def narrow(source: Path, target: Path, bits: int) -> int:
    """Write `source` with the constant weights of its products in `bits` (8 or 4) bits; how many products."""
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    large = sum(path.stat().st_size for path in files(source)) > LARGEST
    with quiet():
        # Asymmetric, because DirectML's kernel wants the zero points that others may do without.
        model = upright(onnx.load(str(source)))
        made = MatMulNBitsQuantizer(model, bits, BLOCK, nodes_to_exclude=_branches(model))
        made.process()
        made.model.save_model_to_file(str(target), use_external_data_format=large)
    return sum(node.op_type == OPERATOR for node in made.model.model.graph.node)


def _branches(model: ModelProto) -> list[str]:
    """Products of low-rank branches, which stay as they are (`engines.capture.low_rank`)."""
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and any(LOW_RANK in name for name in node.input)
    ]
