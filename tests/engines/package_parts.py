"""Real parts for packages that need no trained model: a tiny text-to-image pipeline in ONNX."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.hostloop import Loop, LoopSettings
from engines.package.components import load
from engines.package.evidence import Evidence, Golden, Target
from engines.package.likeness import dhash
from engines.package.manifest import (
    Engine,
    Facts,
    Output,
    SourceModel,
    Technique,
    Tensor,
    Tool,
)
from engines.package.wheels import needed
from engines.package.write import GOLDEN, Contents, EngineFiles

TOKENS, WIDTH = 8, 6
PROMPT, SEED = "a red house", 7
SETTINGS = LoopSettings(
    scheduler="ddim",
    scheduler_config={
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "v_prediction",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "timestep_spacing": "leading",
    },
    steps=3,
    guidance=4.0,
    latent_shape=(4, 4, 4),
    token_length=TOKENS,
    bos_id=1,
    eos_id=2,
    pad_id=0,
)


def tokenizer(path: Path) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {
        word: at for at, word in enumerate(["<pad>", "<bos>", "<eos>", "<unk>", "a", "red", "blue", "house"])
    }
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(path))
    return path


def onnx_models(folder: Path) -> dict[str, Path]:
    """Three small graphs with fixed random weights and the interfaces of real components."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(3)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(generator.normal(0, 0.4, shape).astype(np.float32), name)

    def ints(name: str, *values: int) -> onnx.TensorProto:
        return numpy_helper.from_array(np.array(values, dtype=np.int64), name)

    def value(name: str, kind: int, *shape: int | str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, list(shape))

    floats = TensorProto.FLOAT
    node = helper.make_node
    graphs = {
        "text_encoder": (
            [node("Gather", ["table", "input_ids"], ["embeddings"])],
            [value("input_ids", TensorProto.INT64, "B", TOKENS)],
            [value("embeddings", floats, "B", TOKENS, WIDTH)],
            [weight("table", 8, WIDTH)],
        ),
        "denoiser": (
            [
                node("Conv", ["sample", "mix"], ["mixed"], pads=[1, 1, 1, 1]),
                node("ReduceMean", ["embeddings", "axis"], ["meaning"], keepdims=0),
                node("MatMul", ["meaning", "project"], ["shift"]),
                node("Unsqueeze", ["timestep", "last"], ["column"]),
                node("Mul", ["column", "scale"], ["time"]),
                node("Add", ["shift", "time"], ["moved"]),
                node("Unsqueeze", ["moved", "space"], ["spread"]),
                node("Add", ["mixed", "spread"], ["sum"]),
                node("Tanh", ["sum"], ["prediction"]),
            ],
            [
                value("sample", floats, "B", 4, 4, 4),
                value("timestep", floats, "B"),
                value("embeddings", floats, "B", TOKENS, WIDTH),
            ],
            [value("prediction", floats, "B", 4, 4, 4)],
            [
                weight("mix", 4, 4, 3, 3),
                ints("axis", 1),
                weight("project", WIDTH, 4),
                ints("last", 1),
                numpy_helper.from_array(np.full((1, 4), 1e-3, np.float32), "scale"),
                ints("space", 2, 3),
            ],
        ),
        "decoder": (
            [
                node("ConvTranspose", ["latent", "grow"], ["grown"], strides=[4, 4]),
                node("Tanh", ["grown"], ["image"]),
            ],
            [value("latent", floats, "B", 4, 4, 4)],
            [value("image", floats, "B", 3, 16, 16)],
            [weight("grow", 4, 3, 4, 4)],
        ),
    }
    paths = {}
    for name, (nodes, inputs, outputs, weights) in graphs.items():
        model = helper.make_model(
            helper.make_graph(nodes, name, inputs, outputs, weights),
            opset_imports=[helper.make_opsetid("", 18)],
            ir_version=10,
        )
        onnx.checker.check_model(model)
        paths[name] = folder / f"{name}.onnx"
        onnx.save(model, paths[name])
    return paths


def openvino_models(onnx_files: dict[str, Path]) -> dict[str, Path]:
    import openvino

    paths = {}
    for name, path in onnx_files.items():
        paths[name] = path.with_suffix(".xml")
        openvino.save_model(openvino.convert_model(path), paths[name], compress_to_fp16=False)
    return paths


def contents(folder: Path, engine: str = "onnxruntime") -> Contents:
    """What a package is made of, its golden picture made by the engines themselves."""
    paths = onnx_models(folder)
    options = {}
    if engine == "openvino":
        paths = openvino_models(paths)
        options = {"INFERENCE_PRECISION_HINT": "f32"}
    wheels = needed(engine)
    target = Target(
        device="cpu", engine=engine, engine_version=wheels[0].version, system="Linux", machine="x86_64"
    )
    words = tokenizer(folder / "tokenizer.json")
    parts = []
    for name, path in paths.items():
        files = [path] if engine == "onnxruntime" else [path, path.with_suffix(".bin")]
        parts.append(
            EngineFiles(
                component=name,
                engine=Engine.model_validate(
                    {"engine": engine, "model_file": path.name, "precision": "fp32", "options": options}
                ),
                files={file.name: file for file in files},
                inputs=(Tensor(name="any", dtype="float32", shape=("B", 4)),),
                outputs=(Tensor(name="any", dtype="float32", shape=("B", 4)),),
                built_for=target,
            )
        )
    picture = generate(tuple(parts), words)

    def facts(place: str) -> Facts:
        return Facts(
            created=datetime(2026, 1, 2, tzinfo=UTC),
            tool=Tool(name="Pareto Studio", version="0.1.0"),
            source_model=SourceModel(
                name="tiny", source="tests", hash="0" * 64, licence="Apache-2.0", family="toy"
            ),
            task="text-to-image",
            output=Output(
                height=16, width=16, max_batch=8, latent_shape=SETTINGS.latent_shape, prompt_tokens=TOKENS
            ),
            host_loop=SETTINGS.to_json(),
            tokenizer=place,
            techniques=(Technique(technique="fewer-steps", parameters={"steps": 3}),),
            built_for=target,
            evidence=Evidence(run="r", candidate="c001"),
            golden=Golden(
                prompt=PROMPT,
                seed=SEED,
                image=GOLDEN,
                dhash=dhash(picture),
                dhash_tolerance=6,
                minimum_psnr=30.0,
            ),
            wheels=wheels,
            python=">=3.11",
        )

    return Contents(
        name="tiny",
        description="",
        engines=tuple(parts),
        tokenizer=words,
        facts=facts,
        golden=picture,
        readme="# tiny\n",
        licence="Apache-2.0\n",
    )


def generate(parts: tuple[EngineFiles, ...], words: Path) -> NDArray[np.uint8]:
    from tokenizers import Tokenizer

    components = {
        part.component: load(next(iter(part.files.values())).parent, part.engine.model_dump())
        for part in parts
    }
    loop = Loop(components, Tokenizer.from_file(str(words)), SETTINGS)
    picture: NDArray[np.uint8] = loop.generate([PROMPT], [SEED]).images[0]
    return picture
