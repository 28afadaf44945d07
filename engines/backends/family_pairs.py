"""Every component of every family, and every engine that can be built here: the pairs, and what came of one.

The models are the small ones of `engines.models.small`.  A component whose
captured program another family has already is not built twice.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engines.backends import backend
from engines.backends.base import METADATA, Options
from engines.devices import processor_name
from engines.errors import EngineError
from engines.package.processors import cores
from engines.paths import cache_folder, digest, read_json, write_json
from engines.plan import Backend as BackendName
from engines.plan import Precision

if TYPE_CHECKING:
    from engines.capture.capture import Capture
    from engines.models.model import Model

CLOSEST: Final = 1e-3
"""What an engine in fp32 may differ from eager, absolute."""
TINY: Final = "tiny decoder"
"""No family of its own: it is given beside a model."""


@dataclass(frozen=True, slots=True)
class Column:
    """An engine as the table has it."""

    name: str
    title: str
    backend: BackendName
    precision: Precision
    device: str


COLUMNS: Final = (
    Column("mlx", "MLX fp32", "mlx", "fp32", "mlx"),
    Column("mlx-w8", "MLX, 8 bits", "mlx", "w8", "mlx"),
    Column("mlx-w4", "MLX, 4 bits", "mlx", "w4", "mlx"),
    Column("coreml", "Core ML fp16", "coreml", "fp16", "coreml"),
    Column("tensorrt", "TensorRT-RTX fp16", "tensorrt", "fp16", "cuda"),
    Column("directml", "DirectML fp16", "onnxruntime", "fp16", "directml"),
    Column("openvino", "OpenVINO fp32", "openvino", "fp32", "cpu"),
    Column("onnxruntime", "ONNX Runtime fp32", "onnxruntime", "fp32", "cpu"),
    Column("compile", "torch.compile fp32", "compile", "fp32", "cpu"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one pair."""

    family: str
    component: str
    program: str
    """The captured program's digest: what tells components apart."""
    column: str
    version: str = ""
    """Of the engine."""
    max_abs: float | None = None
    psnr: float | None = None
    """dB, of the worse of two batches; both `None` where nothing here can compute it."""
    stand_in: str = ""
    """What took the device's place in the comparison."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Bytes, operators, the header and the like, read off the files."""
    note: str = ""
    """What the engine does otherwise."""
    refused: str = ""
    """Why there is no engine; everything else is empty then."""
    seconds: float = 0.0
    machine: str = ""
    day: str = ""

    @property
    def key(self) -> str:
        return json.dumps([self.family, self.component, self.program, self.column, self.version])


def captures(family: str, folder: Path) -> Iterator[Capture]:
    """The components of a family's small model, which is written into `folder` where it is not there."""
    from engines.capture.capture import Capture
    from engines.models.small.workloads import workload_of
    from engines.pipeline import engines, plan

    model = opened(family, folder)
    made = plan(model, "cpu", workload_of(family))
    for request in engines(made):
        structure = request.structure
        if family == TINY and structure.component != "decoder":
            continue
        yield Capture(model, replace(structure, decoder="tiny") if family == TINY else structure)


def opened(family: str, folder: Path) -> Model:
    """The small model of a family; the tiny decoder comes with Stable Diffusion 1.5's."""
    from engines.models.load import open_model
    from engines.models.small.families import NETWORKS, write

    base = "sd15" if family == TINY else family
    place = folder / f"small-{base}"
    if not place.exists():
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f".new-{base}"
        shutil.rmtree(fresh, ignore_errors=True)
        write(base, fresh)
        fresh.replace(place)
    source = str(place / f"{base}.safetensors" if base in NETWORKS else place)
    if family == TINY:
        from engines.models.small.parts import tiny_decoder

        beside = folder / "tiny-decoder"
        if not (beside / "config.json").is_file():
            tiny_decoder().save_pretrained(beside)
        source += f" + tiny-decoder={beside}"
    return open_model(source)


def program_digest(capture: Capture) -> str:
    """What tells a component's computation from another's: its graph, without the weights' values."""
    path = cache_folder("programs") / f"{capture.key}.json"
    known = read_json(path)
    if known is None:
        shapes = [[one.name, one.shape] for one in capture.inputs]
        known = {"program": digest(str(capture.program.graph), shapes)[:12]}
        write_json(path, known)
    return str(known["program"])


def named(family: str, component: str, program: str, column: Column) -> Row:
    """The row of a pair before it is built."""
    return Row(family, component, program, column.name, backend(column.backend).version())


def built(capture: Capture, row: Row, column: Column) -> Row:
    """Build one pair in this process: no lower precision and no other engine takes its place."""
    engine = backend(column.backend)
    options = Options(column.precision, device=column.device)
    today = str(dt.datetime.now(tz=dt.UTC).date())
    row = replace(row, machine=f"{processor_name()}, {cores()} cores", day=today)
    start = time.monotonic()
    if why := engine.objection(column.precision, column.device):
        return replace(row, refused=why)
    _forget_failure(cache_folder("engines") / engine.key(capture, options))
    try:
        artifact = engine.kept(capture, options)
    except EngineError as error:
        return replace(row, refused=str(error), seconds=round(time.monotonic() - start, 1))
    parity = artifact.metadata.get("parity") or {}
    return replace(
        row,
        max_abs=parity.get("max_abs"),
        psnr=parity.get("psnr"),
        stand_in=str(artifact.metadata.get("stand_in", "")),
        facts=_facts(artifact.metadata),
        note=" ".join(engine.remarks(artifact)),
        seconds=round(time.monotonic() - start, 1),
    )


def _forget_failure(folder: Path) -> None:
    """A failure is kept like an engine; whoever asks for a pair anew wants it tried anew."""
    if (read_json(folder / METADATA) or {}).get("failed"):
        shutil.rmtree(folder)


def _facts(metadata: Any) -> dict[str, Any]:
    """What is told of the files: little of it, for many rows."""
    found: dict[str, Any] = {"bytes": metadata.get("bytes")}
    operators = metadata.get("operators")
    if operators is not None:
        found["operators"] = operators if isinstance(operators, int) else sum(operators.values())
    for name in ("opset", "specification", "weight_bytes", "header", "left_to_cpu", "quantised", "profile"):
        if name in metadata:
            found[name] = metadata[name]
    if "excluded" in metadata:
        found["excluded"] = len(metadata["excluded"])
    if "functions" in metadata:
        found["functions"] = [one["name"] for one in metadata["functions"]]
    return found
