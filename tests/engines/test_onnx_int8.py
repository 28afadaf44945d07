"""int8 in ONNX files: a linear layer's weights are kept in eight bits, each channel with its own scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from engines.backends.onnx_int8 import quantise

WIDE = 16
Array = NDArray[np.float32]


def weight() -> Array:
    """As torch keeps a linear layer's, output channels first; the last is a thousand times the first."""
    rng = np.random.default_rng(5)
    made: Array = (rng.normal(size=(WIDE, WIDE)) * np.logspace(-3, 0, WIDE)[:, None]).astype(np.float32)
    return made


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A linear layer behind the node that the exporter transposes it with, and attention of its outputs."""
    nodes = [
        helper.make_node("Transpose", ["weight"], ["turned"], "turn", perm=[1, 0]),
        helper.make_node("MatMul", ["x", "turned"], ["y"], "linear"),
        helper.make_node("Transpose", ["y"], ["keys"], "keys", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["y", "keys"], ["scores"], "attention"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4, WIDE])],
        [
            helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4, WIDE]),
            helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [1, 4, 4]),
        ],
        [numpy_helper.from_array(weight(), "weight")],
    )
    path = tmp_path / "plain.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(path))
    return path


def samples() -> list[dict[str, Array]]:
    rng = np.random.default_rng(6)
    return [{"x": rng.normal(size=(1, 4, WIDE)).astype(np.float32)} for _ in range(4)]


def made(plain: Path, **settings: bool) -> tuple[Path, Any]:
    quantise(plain, plain.with_name("int8.onnx"), samples(), **settings)
    return plain.with_name("int8.onnx"), onnx.load(str(plain.with_name("int8.onnx"))).graph


@pytest.mark.parametrize("signed", [False, True])
def test_a_linear_layer_has_int8_weights_by_channel(plain: Path, signed: bool) -> None:
    _, graph = made(plain, signed=signed)
    kept = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    linear = next(node for node in graph.node if node.name == "linear")
    widened = next(node for node in graph.node if node.output[0] == linear.input[1])
    assert widened.op_type == "DequantizeLinear"
    assert kept[widened.input[0]].dtype == np.int8
    assert kept[widened.input[1]].shape == (WIDE,)
    assert not [value for value in kept.values() if value.size == WIDE * WIDE and value.dtype == np.float32]


def test_attention_computes_in_floats(plain: Path) -> None:
    _, graph = made(plain)
    attention = next(node for node in graph.node if node.name == "attention")
    makers = {node.output[0]: node.op_type for node in graph.node}
    assert "DequantizeLinear" not in {makers[name] for name in attention.input}


def test_the_quietest_channel_survives(plain: Path) -> None:
    path, _ = made(plain, half_range=True)
    given = samples()[0]
    quiet, wanted = (
        onnxruntime.InferenceSession(str(one), providers=["CPUExecutionProvider"]).run(["y"], given)[0][
            ..., 0
        ]
        for one in (path, plain)
    )
    assert np.abs(quiet - wanted).max() < 0.05 * np.abs(wanted).max()
    assert [one.name for one in path.parent.iterdir() if one.is_dir()] == []
