"""Weights of matrix products in an ONNX model, as quantisers look for them.

The exporter leaves a linear layer's weight as torch has it, behind a node that
transposes it.  Runtimes fold that when they open the file; a quantiser takes
the product for one of two activations and gives the weight one scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import ModelProto


def upright(model: ModelProto) -> ModelProto:
    """The model with the weights that a node transposes for a product transposed in the file."""
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
