"""A package may hold engines for devices that its maker never saw: asked for by name, called as they are."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.backends.serves import SERVES
from engines.errors import PackageError
from engines.package.components import OPENS, load
from engines.package.manifest import Engine
from engines.package.runner import Package
from engines.package.verify import verify
from engines.package.write import Contents, EngineFiles, write
from tests.engines.package_parts import contents

_MLX = pytest.mark.skipif(find_spec("mlx") is None, reason="mlx not installed")


def mlx_decoder(folder: Path, source: Path) -> Path:
    """The toy decoder of `package_parts` as a lowered graph: the same weights, from its ONNX file."""
    import onnx
    import torch
    from onnx import numpy_helper

    from engines.backends.mlx_graph.lower import lower
    from engines.backends.mlx_graph.operators import table
    from engines.backends.mlx_graph.save import save

    weights = {
        one.name: numpy_helper.to_array(one).copy() for one in onnx.load(str(source)).graph.initializer
    }

    class Decoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.grow = torch.nn.Parameter(torch.from_numpy(weights["grow"]), requires_grad=False)

        def forward(self, latent: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.conv_transpose2d(latent, self.grow, stride=4).tanh()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            Decoder(),
            (torch.zeros(2, 4, 4, 4),),
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            strict=False,
        )
    found, values = lower(program, ["latent"], table())
    folder.mkdir()
    save(replace(found, names=["image"]), values, folder)
    return folder


@pytest.fixture
def made(tmp_path: Path) -> tuple[Contents, Path]:
    """A toy package for the CPU, with one component for `mlx` too."""
    plain = contents(tmp_path)
    usual = next(part for part in plain.engines if part.component == "decoder")
    folder = mlx_decoder(tmp_path / "mlx", next(iter(usual.files.values())))
    facts: dict[str, Any] = {
        "engine": "mlx", "model_file": "program.json", "precision": "fp32", "device": "mlx",
    }  # fmt: skip
    extra: EngineFiles = replace(
        usual,
        engine=Engine.model_validate(facts),
        files={path.name: path for path in folder.iterdir()},
        built_for=usual.built_for.model_copy(update={"device": "mlx", "engine": "mlx"}),
        parity=None,
    )
    return replace(plain, engines=(*plain.engines, extra)), tmp_path / "package"


@_MLX
def test_what_was_only_built_is_said_and_not_used_unasked(made: tuple[Contents, Path]) -> None:
    parts, folder = made
    write(parts, folder)
    checked = verify(folder)
    assert "Built for mlx too, not verified on device." in checked.notes
    variant = checked.manifest.components["decoder"].variants["mlx-mlx-fp32"]
    assert (variant.device, variant.ep, variant.additional_metadata.parity) == ("gpu", None, None)
    usual, asked = Package(folder), Package(folder, "mlx")
    latent = {"latent": np.random.default_rng(0).standard_normal((3, 4, 4, 4), dtype=np.float32)}
    wanted = usual.loaded["decoder"](latent)["image"]
    assert usual.fallbacks == []
    np.testing.assert_allclose(asked.loaded["decoder"](latent)["image"], wanted, atol=1e-5)
    assert asked.choices["decoder"].variant == "mlx-mlx-fp32"


@_MLX
def test_it_runs_from_the_package_alone(made: tuple[Contents, Path], tmp_path: Path) -> None:
    parts, folder = made
    write(parts, folder)
    out = tmp_path / "picture.png"
    for device in ("", "mlx"):
        command = [sys.executable, "-I", str(folder / "run.py"), "--prompt", "a red house", "--out", str(out)]
        done = subprocess.run(
            [*command, "--device", device], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        assert done.returncode == 0, done.stderr
        assert out.is_file()
        assert "is not installed" not in done.stderr  # all that it imports of the Studio travels with it
        out.unlink()


def test_a_runtime_that_is_not_here_says_what_to_install(tmp_path: Path) -> None:
    plain = contents(tmp_path)
    part = plain.engines[0]
    engine = part.engine.model_copy(update={"device": "directml"}).model_dump()
    with pytest.raises(PackageError, match="no DmlExecutionProvider; install onnxruntime-directml"):
        load(next(iter(part.files.values())).parent, engine)


_LACKING = {
    "onnxruntime": "The ONNX Runtime that is installed has no|because .* did not load",
    "openvino": "openvino finds no [GN]PU on this machine, only CPU",
    "coreml": "coreml (is not installed|cannot load)",
    "mlx": "mlx is not installed",
    "tensorrt": "tensorrt is not installed|cannot be opened by TensorRT-RTX",
    "compile": "torch finds no cuda device on this machine",
}
"""What is said where a device or its runtime is not there."""


@pytest.mark.parametrize(("device", "engine"), [(device, one) for device in SERVES for one in SERVES[device]])
def test_on_every_device_the_runner_opens_what_was_asked_for_or_refuses(
    tmp_path: Path, device: str, engine: str
) -> None:
    """Never the CPU without a word: here, where there is no other device, all but the CPU are refused."""
    kind = "openvino" if engine == "openvino" else "onnxruntime"
    part = contents(tmp_path, kind).engines[0]
    asked = part.engine.model_dump() | {"device": device, "engine": engine}
    folder = next(iter(part.files.values())).parent
    if device == "cpu" and engine == "compile":
        pytest.skip("its files are a program for torch, and test_package_torch opens those")
    if device == "cpu" and engine in OPENS:
        assert callable(load(folder, asked))
        return
    if engine == "mlx" and find_spec("mlx"):
        pytest.skip("MLX has a CPU of its own, and its graphs are tested above")
    unknown = device not in OPENS.get(engine, ())
    with pytest.raises(PackageError, match="its runner does not know" if unknown else _LACKING[engine]):
        load(folder, asked)
