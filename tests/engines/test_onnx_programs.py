"""ONNX files hold nothing that TensorRT and DirectML do not read, and compute what torch computes."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engines.backends import directml, onnx_files

rtx = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx not installed")
REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2")


class Norm(nn.Module):
    """An RMS norm as T5, Gemma and SD 3 write it."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return given * torch.rsqrt(given.pow(2).mean(-1, keepdim=True) + 1e-6)


class Parts(nn.Module):
    """Text and picture apart, in pieces of other lengths."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        text, picture, rest = given.split_with_sizes([2, 3, 1], dim=1)
        first, second = picture.chunk(2, dim=1)
        return torch.cat([picture, text.sin(), rest, first * 2, second], dim=1)


class Mixed(nn.Module):
    """Halves beside floats, as SDXL in fp16 has its pooled embedding and its sizes."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return torch.concat([given.half(), given.sin()], dim=-1).half().float()


def exported(module: nn.Module, path: Path) -> Path:
    """As `converted` writes a component, the batch dynamic."""
    given = torch.randn(2, 6, 8)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shapes = ({0: torch.export.Dim.DYNAMIC},)
        program = torch.export.export(module.eval(), (given,), dynamic_shapes=shapes, strict=False)
    named = SimpleNamespace(program=program, inputs=[SimpleNamespace(name="x")])
    capture: Any = SimpleNamespace(**vars(named), outputs=[SimpleNamespace(name="y")])
    with onnx_files.quiet():
        onnx_files._export(capture, "fp32", directml.OPSET, path)
    return path


@pytest.fixture(scope="module", params=[Norm, Parts, Mixed], ids=lambda kind: kind.__name__)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    module = request.param()
    return module, exported(module, tmp_path_factory.mktemp("onnx") / "model.onnx")


def test_it_computes_what_torch_computes(made: tuple[nn.Module, Path]) -> None:
    import onnxruntime

    module, path = made
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        given = torch.randn(batch, 6, 8)
        (found,) = session.run(None, {"x": given.numpy()})
        np.testing.assert_allclose(
            found, module(given).numpy(), atol=1e-3 if isinstance(module, Mixed) else 1e-5
        )


def test_axes_are_constants_and_nothing_is_a_sequence(made: tuple[nn.Module, Path]) -> None:
    import onnx

    _, path = made
    graph = onnx.load(str(path)).graph
    plain = {one.name for one in graph.initializer}
    plain |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    assert not [node.op_type for node in graph.node if "Sequence" in node.op_type]
    assert all(node.input[1] in plain for node in graph.node if node.op_type in REDUCTIONS)
    assert directml.lacking(path) == []


@rtx
def test_tensorrt_builds_an_engine_of_it(made: tuple[nn.Module, Path], tmp_path: Path) -> None:
    from engines.backends.tensor_rt_build import build_engine

    assert build_engine(made[1], {"x": (6, 8)}, (1, 2, 8), tmp_path / "cache")
