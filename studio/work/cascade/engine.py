"""The discriminator as an engine: what a package ships instead of torch.

Network, words, weighing and calibration become one graph from `pixels` and
`words` to `score`.  As with every engine, it is compared with eager before it
is used.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.package import components
from engines.package.cascade import DISCRIMINATOR, bag, pixels
from engines.package.evidence import Parity
from engines.package.manifest import Engine
from engines.package.manifest import Tensor as Port
from engines.package.write import EngineFiles
from studio.errors import ExportError
from studio.work.cascade.network import SIDE, WORDS, Network, load
from studio.work.package_contents import target_of

Pixels = NDArray[np.uint8]

TOLERANCE: Final = 2e-3
"""Largest difference of a score, engine against eager."""
_OPTIONS: Final = {
    "openvino": {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"},
    "onnxruntime": {"session.force_spinning_stop": "1"},
}


class Scorer(nn.Module):
    """A saved discriminator whole: (B, 3, `SIDE`, `SIDE`) and (B, `WORDS`) to scores (B,)."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        from safetensors.torch import load_file

        state = load_file(str(path))
        own = {
            name.removeprefix("network."): one for name, one in state.items() if name.startswith("network.")
        }
        self.network = Network()
        self.network.load_state_dict(own)
        self.register_buffer("regression", state["regression"].float())
        self.register_buffer("weights", state["weights"].float())
        self.eval()

    def forward(self, pixels: Tensor, words: Tensor) -> Tensor:
        regression, weights = self.get_buffer("regression"), self.get_buffer("weights")
        seen = self.network(pixels, words)
        read = words @ regression[:-1] + regression[-1]
        return torch.sigmoid(-(weights[0] * seen + weights[1] * read + weights[2]))


@dataclass(frozen=True, eq=False)
class Judging:
    """The discriminator's engine files and what it says about the pictures that it was tried on."""

    engine: EngineFiles
    scores: NDArray[np.float64]


def build(network: Path, backend: str, folder: Path, pictures: Pixels, prompts: Sequence[str]) -> Judging:
    """Write the engine's files into `folder` and compare it with eager on real light pictures (N, H, W, 3).

    The folder is made where it is not there.

    Raises:
        ExportError: it cannot be built, or gives other scores.
    """
    folder.mkdir(exist_ok=True)
    try:
        model = Scorer(network)
        expected = load(network)(pictures.copy(), prompts)  # torch takes no arrays that are read only
        name = _openvino(model, folder) if backend == "openvino" else _onnx(model, folder)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ExportError(
            f"The discriminator cannot be built for {backend} ({reason}); train it again."
        ) from error
    engine = Engine.model_validate(
        {"engine": backend, "model_file": name, "precision": "fp32", "options": _OPTIONS[backend]}
    )
    component = components.load(folder, engine.model_dump())
    given = {"pixels": pixels(pictures, SIDE), "words": bag(prompts, WORDS)}
    found = component(given)["score"].reshape(-1).astype(np.float64)
    off = float(np.abs(found - expected).max())
    if not np.isfinite(found).all() or off > TOLERANCE:
        raise ExportError(
            f"The discriminator's engine gives other scores than the discriminator (by {off:.3g}); "
            "export for another engine, or train it again."
        )
    files = EngineFiles(
        component=DISCRIMINATOR,
        engine=engine,
        files={path.name: path for path in sorted(folder.iterdir())},
        inputs=(
            Port(name="pixels", dtype="float32", shape=("batch", 3, SIDE, SIDE)),
            Port(name="words", dtype="float32", shape=("batch", WORDS)),
        ),
        outputs=(Port(name="score", dtype="float32", shape=("batch",)),),
        built_for=target_of(backend, _version(backend)),
        parity=Parity(max_abs=off, psnr=None, passed=True),
    )
    return Judging(files, found)


def _version(backend: str) -> str:
    from importlib import metadata

    return metadata.version(backend)


def _example() -> tuple[Tensor, Tensor]:
    return torch.zeros(2, 3, SIDE, SIDE), torch.zeros(2, WORDS)


def _program(model: nn.Module) -> Any:
    batch = torch.export.Dim.DYNAMIC
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(model, _example(), dynamic_shapes=({0: batch}, {0: batch}), strict=False)


def _openvino(model: nn.Module, folder: Path) -> str:
    import openvino

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = openvino.convert_model(_program(model))
    for port, name in zip(found.inputs, ("pixels", "words"), strict=True):
        port.get_tensor().set_names({name})
    found.outputs[0].get_tensor().set_names({"score"})
    found.reshape({"pixels": [-1, 3, SIDE, SIDE], "words": [-1, WORDS]})
    openvino.save_model(found, folder / "model.xml", compress_to_fp16=False)
    return "model.xml"


def _onnx(model: nn.Module, folder: Path) -> str:
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _program(model),
            dynamo=True,
            optimize=False,
            verbose=False,
            input_names=["pixels", "words"],
            output_names=["score"],
        )
        assert program is not None
        program.save(str(folder / "model.onnx"))
    return "model.onnx"


def workshop() -> tempfile.TemporaryDirectory[str]:
    """Where the engine's files lie until they are in the package."""
    return tempfile.TemporaryDirectory(prefix="pareto-discriminator-")
