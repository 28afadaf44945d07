"""An NVIDIA Triton model repository: an ONNX model for each component, and the host loop as a Python model.

    NAME/config.pbtxt, NAME/1/model.py            prompt and seed in, picture out; calls the others by BLS
    NAME-denoiser/config.pbtxt, .../1/model.onnx  and so on for each component

The loop is the very one that was measured, so every recipe can be said.  A
component's scalar inputs are `dims: [1]` reshaped to none, since Triton wants
a dimension beside the batch.  Schema: `model_config.proto` of Triton's own
repository `common`; the tests read every configuration with it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from engines.layouts.base import Drawn, Layout, Spoken, Subject, register
from engines.layouts.engine_words import on_engine
from engines.layouts.script import write_program
from engines.layouts.triton_server import installed, serving

if TYPE_CHECKING:
    from engines.backends.base import Artifact
    from engines.capture.structure import TensorSpec
    from engines.models.model import Model
    from engines.plan import Plan

TYPES: Final = {"float32": "TYPE_FP32", "int64": "TYPE_INT64"}
STARTS_FROM_PICTURE: Final = ("upscaling", "image-to-video", "super-resolution")
_ENGINES: Final = Path(__file__).resolve().parents[1]


@register
class Triton(Layout):
    name = "triton"
    title = "NVIDIA Triton"
    summary = "A model repository for Triton Inference Server: ONNX components and the host loop by BLS."
    usage = """\
    tritonserver --model-repository THIS_FOLDER

The server needs the onnxruntime and the python backend, and its Python numpy and tokenizers
(`{name}/requirements.txt`). Ask the model `{name}`: `prompt` (TYPE_STRING) and `seed` (TYPE_UINT64) in,
`image` (TYPE_UINT8) out; requests that wait together are drawn together.

    curl -s localhost:8000/v2/models/{name}/infer -d \'{{"inputs": [
      {{"name": "prompt", "shape": [1, 1], "datatype": "BYTES", "data": ["{prompt}"]}},
      {{"name": "seed", "shape": [1, 1], "datatype": "UINT64", "data": [{seed}]}}]}}\'"""
    modules: ClassVar = ("onnx", "onnxruntime")

    def spoken(self, plan: Plan, model: Model) -> Spoken:
        there, lost = on_engine(plan, "onnxruntime", "cuda" if plan.device == "cuda" else "cpu")
        if model.task in STARTS_FROM_PICTURE:
            reason = f"{model.name} starts from a picture file, which a server should not be asked to open"
            return Spoken(there, refused=(f"{reason}; export the package as it is.",))
        return Spoken(there, lost)

    def write(self, subject: Subject, folder: Path) -> None:
        name = subject.name
        loop = subject.plan.loop
        doubled = 2 if loop.guidance > 1 and loop.batched_guidance and not loop.embedded_guidance else 1
        for artifact in subject.artifacts:
            part = f"{name}-{artifact.capture.component.replace('_', '-')}"
            rows = loop.batch * (doubled if artifact.capture.component.startswith("denoiser") else 1)
            _write_component(artifact, part, max(rows, 2), folder / part)
        place = folder / name / "1"
        place.mkdir(parents=True)
        write_program("triton_model", place / "model.py")
        for source in (_ENGINES / "__init__.py", *sorted((_ENGINES / "hostloop").glob("*.py"))):
            target = place / "engines" / source.relative_to(_ENGINES)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        for key, tokenizer in subject.model.tokenizers.items():
            tokenizer.save(str(place / f"{key}.json"))
        settings = {
            "host_loop": json.loads(json.dumps(loop.to_json(), default=lambda value: value.item())),
            "tokenizers": {key: f"{key}.json" for key in subject.model.tokenizers},
            "components": {
                one.capture.component: f"{name}-{one.capture.component.replace('_', '-')}"
                for one in subject.artifacts
            },
            "outputs": {
                one.capture.component: [spec.name for spec in one.capture.outputs]
                for one in subject.artifacts
            },
        }
        (place / "settings.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        picture = list(subject.picture.shape)
        (folder / name / "config.pbtxt").write_text(pipeline_config(name, picture, loop.batch))
        (folder / name / "requirements.txt").write_text(
            f"numpy\ntokenizers=={metadata.version('tokenizers')}\n"
        )

    def draw(self, folder: Path, prompt: str, seed: int) -> Drawn | None:
        found = installed()
        if found is None:
            return None
        model = next(folder.glob("*/1/model.py")).parents[1].name
        with (
            tempfile.TemporaryDirectory(prefix="pareto-triton-") as room,
            serving(found, folder, Path(room)) as server,
        ):
            picture = server.draw(model, [prompt], [seed])[0]
            runtime = f"Triton {server.version}"
        note = "Its ONNX Runtime backend was one in Python, not Triton's own." if found.borrowed else ""
        return Drawn(picture, runtime, note)


def _write_component(artifact: Artifact, name: str, rows: int, folder: Path) -> None:
    (folder / "1").mkdir(parents=True)
    for path in artifact.files:
        shutil.copyfile(path, folder / "1" / path.name)
    kind = "KIND_GPU" if artifact.device == "cuda" else "KIND_CPU"
    capture = artifact.capture
    (folder / "config.pbtxt").write_text(
        component_config(name, capture.inputs, capture.outputs, rows, kind), encoding="utf-8"
    )


def component_config(
    name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], rows: int, kind: str
) -> str:
    """The `config.pbtxt` of one ONNX model; `rows` is the largest batch."""
    tensors = [_tensor("input", spec.name, TYPES[spec.dtype], spec.shape) for spec in inputs]
    tensors += [_tensor("output", spec.name, TYPES[spec.dtype], spec.shape) for spec in outputs]
    return "\n".join(
        [
            f'name: "{name}"',
            'backend: "onnxruntime"',
            'default_model_filename: "model.onnx"',
            f"max_batch_size: {rows}",
            *tensors,
            f"instance_group {{ kind: {kind} count: 1 }}",
            "dynamic_batching { }",
            "",
        ]
    )


def pipeline_config(name: str, picture: Sequence[int], rows: int) -> str:
    """The `config.pbtxt` of the host loop; `picture` is the shape of one."""
    return "\n".join(
        [
            f'name: "{name}"',
            'backend: "python"',
            f"max_batch_size: {rows}",
            _tensor("input", "prompt", "TYPE_STRING", (1,)),
            _tensor("input", "seed", "TYPE_UINT64", (1,)),
            _tensor("output", "image", "TYPE_UINT8", picture),
            "instance_group { kind: KIND_CPU count: 1 }",
            "dynamic_batching { }",
            "",
        ]
    )


def _tensor(field: str, name: str, kind: str, shape: Sequence[int]) -> str:
    dims = f"dims: [ {', '.join(map(str, shape))} ]" if shape else "dims: [ 1 ] reshape { shape: [ ] }"
    return f'{field} {{ name: "{name}" data_type: {kind} {dims} }}'
