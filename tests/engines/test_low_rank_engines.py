"""Engines round the residual of a low-rank pair to few bits and leave its branch as it is (SVDQuant)."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines.backends import backend
from engines.backends.base import Options
from engines.capture.capture import Capture
from engines.capture.low_rank import DOWN, UP, split
from engines.capture.structure import LOW_RANK, Structure
from engines.models.load import open_model
from engines.plan import DenoiserStructure

RANK = 16


class Blocks(torch.nn.Module):
    """Two products with few large directions, of which `split` gives each a branch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = torch.nn.ModuleList([torch.nn.Linear(128, 192), torch.nn.Linear(192, 128)])
        for layer in self.blocks:
            assert isinstance(layer, torch.nn.Linear)
            layer.weight.data += torch.randn(layer.out_features, 4) @ torch.randn(4, layer.in_features) / 8

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.blocks[1](torch.nn.functional.silu(self.blocks[0](given)))
        return found


@pytest.fixture(scope="module")
def given() -> torch.Tensor:
    return torch.randn(2, 7, 128, generator=torch.Generator().manual_seed(1))


def programs(given: torch.Tensor) -> tuple[Any, Any, torch.Tensor]:
    """Without branches and with them, and what both compute."""
    plain, branched = Blocks().eval(), Blocks().eval()
    assert split(branched, RANK) == 2
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, other = (
            torch.export.export(module, (given,), dynamic_shapes=shapes, strict=False)
            for module in (plain, branched)
        )
        return one, other, plain(given)


def loss(found: Any, wanted: torch.Tensor) -> float:
    return float(np.linalg.norm(np.asarray(found) - wanted.numpy()) / np.linalg.norm(wanted.numpy()))


def test_openvino_rounds_the_residuals_alone(given: torch.Tensor) -> None:
    import openvino

    from engines.backends.open_vino import branches, name_branches, narrow, properties

    found = []
    *both, wanted = programs(given)
    for at, program in enumerate(both):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = openvino.convert_model(program)
        model.reshape([-1, 7, 128])
        name_branches(model, dict(program.state_dict))
        assert len(branches(model)) == 4 * at
        made = narrow(model, "w4")
        kinds = [one.get_element_type().get_type_name() for one in made.get_ordered_ops()]
        assert kinds.count("i4") == 1
        assert "u8" in kinds  # the last product, in 8 bits by NNCF's own rule
        compiled = openvino.Core().compile_model(made, "CPU", properties("w4"))
        found.append(loss(compiled(given.numpy())[0], wanted))
    assert 0 < found[1] < found[0] / 2


def test_onnx_runtime_rounds_the_residuals_alone(given: torch.Tensor, tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    from engines.backends.onnx_files import quiet
    from engines.backends.onnx_narrow import OPERATOR, narrow

    found = []
    *both, wanted = programs(given)
    for at, program in enumerate(both):
        source, target = tmp_path / f"{at}.onnx", tmp_path / f"{at}-narrow.onnx"
        with quiet():
            made = torch.onnx.export(program, dynamo=True, optimize=False, verbose=False)
        assert made is not None
        made.save(str(source))
        assert narrow(source, target, 4) == 2
        graph = onnx.load(str(target)).graph
        kept = {one.name: one.data_type for one in graph.initializer if LOW_RANK in one.name}
        assert len(kept) == 4 * at
        assert set(kept.values()) <= {onnx.TensorProto.FLOAT}
        operators = [node.op_type for node in graph.node]
        assert (operators.count(OPERATOR), operators.count("MatMul")) == (2, 4 * at)
        session = onnxruntime.InferenceSession(str(target))
        (name,) = [one.name for one in session.get_inputs()]
        found.append(loss(session.run(None, {name: given.numpy()})[0], wanted))
    assert 0 < found[1] < found[0] / 2


def test_mlx_rounds_the_residuals_alone(given: torch.Tensor, tmp_path: Path) -> None:
    pytest.importorskip("mlx.core")
    from engines.backends.mlx_graph.lower import lower
    from engines.backends.mlx_graph.operators import table
    from engines.backends.mlx_graph.run import open_folder
    from engines.backends.mlx_graph.save import save

    found = []
    *both, wanted = programs(given)
    for at, program in enumerate(both):
        made, weights = lower(program, ["given"], table(), 4)
        kinds = {one.tensor: one.kind for one in made.constants.values()}
        branch = [kind for name, kind in kinds.items() if name.endswith((DOWN, UP))]
        assert branch == ["plain"] * 4 * at
        assert list(kinds.values()).count("quantised") == 2
        folder = tmp_path / str(at)
        folder.mkdir()
        save(replace(made, names=["answer"]), weights, folder)
        found.append(loss(open_folder(folder)({"given": given.numpy()})["answer"], wanted))
    assert 0 < found[1] < found[0] / 2


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "gain"), [("openvino", 1), ("onnxruntime", 2), ("mlx", 2)])
def test_a_real_denoiser_in_four_bits_is_closer_with_branches(engine: Any, gain: float) -> None:
    if engine == "mlx":
        pytest.importorskip("mlx.core")
    model = open_model("tiny-scenes")
    found = []
    for rank in (0, 32):
        structure = Structure("denoiser", (8, 8, 8), DenoiserStructure(low_rank=rank))
        device = "mlx" if engine == "mlx" else "cpu"
        made = backend(engine).build(Capture(model, structure), Options("w4", device=device))
        assert (made.backend, made.precision) == (engine, "w4")
        found.append(made.metadata["parity"]["psnr"])
    assert found[1] > found[0] + gain
