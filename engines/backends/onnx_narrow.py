"""ONNX files whose matrix products keep their weights in 8 or 4 bits, widened in the product.

The operator is ONNX Runtime's MatMulNBits (contrib operators, com.microsoft):
blocks of a column share a scale and a zero point.  Convolutions, norms and the
products of one row (Gemm: embeddings of time and of conditions) stay as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engines.backends.onnx_files import LARGEST, files, quiet
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
        model = _with_weights_upright(onnx.load(str(source)))
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


def _with_weights_upright(model: ModelProto) -> ModelProto:
    """Weights that a node transposes for a product are transposed in the file: the quantiser takes constants
    only, and the exporter leaves a linear layer's as torch has it."""
    from onnx import numpy_helper

    graph = model.graph
    constants = {one.name: one for one in graph.initializer}
    turned: dict[str, Any] = {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "Transpose" and node.input[0] in constants and _swaps(node)
    }
    made: set[str] = set()
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in turned:
            continue
        name = f"{turned[node.input[1]].input[0]}.upright"
        if name not in made:
            weight = numpy_helper.to_array(constants[turned[node.input[1]].input[0]])
            graph.initializer.append(numpy_helper.from_array(weight.T.copy(), name))
            made.add(name)
        node.input[1] = name
    _drop_unused(graph)
    return model


def _swaps(node: Any) -> bool:
    """Whether a transposition is that of a matrix."""
    return [list(one.ints) for one in node.attribute if one.name == "perm"] in ([[1, 0]], [])


def _drop_unused(graph: Any) -> None:
    """Transpositions and constants that nothing reads any more."""
    read = {name for node in graph.node for name in node.input} | {one.name for one in graph.output}
    for node in [one for one in graph.node if one.op_type == "Transpose" and one.output[0] not in read]:
        graph.node.remove(node)
    read = {name for node in graph.node for name in node.input} | {one.name for one in graph.output}
    for constant in [one for one in graph.initializer if one.name not in read]:
        graph.initializer.remove(constant)
