"""A cascade with a variant of every kind of engine file, and every fact that a manifest knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from engines.package.evidence import (
    Evidence,
    Interval,
    Latency,
    Parity,
    Quality,
    Sample,
    Tolerance,
    Verification,
)
from engines.package.manifest import Calibration, Facts, File, Format
from engines.package.write import Contents, EngineFiles
from tests.engines.cascade_parts import cascade_contents
from tests.engines.package_parts import PROMPT, SEED, onnx_models, openvino_models

AROUND = Interval(value=0.5, low=0.4, high=0.6)


def every_kind(folder: Path) -> Contents:
    """ONNX alone, with data beside it, with a compiled context; OpenVINO, MLX, Core ML, TensorRT-RTX, torch.

    What nothing here opens is made of bytes, in the names and folders that the engines give them.
    """
    plain = cascade_contents(folder)
    usual = next(part for part in plain.engines if part.component == "decoder")
    files = {
        ("openvino", "cpu", "int8"): _openvino(folder / "openvino"),
        ("onnxruntime", "cuda", "fp16"): _external(folder / "external"),
        ("onnxruntime", "directml", "fp16"): _compiled(folder / "compiled"),
        ("mlx", "mlx", "w4"): _mlx(folder / "mlx"),
        ("coreml", "coreml", "w6"): _core_ml(folder / "coreml"),
        ("tensorrt", "cuda", "fp16"): _written(folder / "rtx", {"model.engine": b"ptrt" + b"\2" * 60}),
        ("eager", "cpu", "fp32"): _torch(folder / "eager"),
        ("compile", "cpu", "bf16"): _torch(folder / "compile"),
        ("aoti", "cpu", "fp32"): _written(folder / "aoti", {"model.pt2": b"PK" + b"\3" * 60}),
    }
    more = [_variant(usual, *key, made) for key, made in files.items()]

    def facts(place: str) -> Facts:
        whole = plain.facts(place)
        assert whole.cascade is not None
        light = _told(whole.cascade.light)
        judge = whole.cascade.discriminator.model_copy(update={"auc": AROUND})
        more = {"light": light, "discriminator": judge, "guarded": 0.4, "guarded_rate": 0.1}
        return _told(whole).model_copy(update={"cascade": whole.cascade.model_copy(update=more)})

    return replace(plain, name="every", engines=(*plain.engines, *more), facts=facts)


def _variant(
    usual: EngineFiles, engine: str, device: str, precision: str, files: Mapping[str, Path]
) -> EngineFiles:
    model = next(
        name
        for name in files
        if name.endswith((".xml", ".onnx", "program.json", "graph.json", ".mlmodel", ".engine", ".pt2"))
    )
    return replace(
        usual,
        engine=type(usual.engine).model_validate(
            {
                "engine": engine,
                "device": device,
                "precision": precision,
                "model_file": model,
                "options": {"hint": "x"},
            }
        ),
        files=files,
        built_for=usual.built_for.model_copy(
            update={
                "device": device, "engine": engine, "processor": "p", "instruction_sets": ("avx2",),
                "gpu": "g", "compute_capability": "8.9", "driver": "580",
            }
        ),
        parity=Parity(max_abs=0.1, psnr=40.0, least_psnr=30.0, cases=2, passed=True, stand_in="a CPU"),
        fallbacks=("fp16 was lowered.",),
        excluded_layers=("attention",),
        format=Format(name="a format", version="1", opset=18),
        build_options={"batch": "dynamic"},
    )  # fmt: skip


def _told(facts: Facts) -> Facts:
    """With all that `package_parts` leaves out."""
    file = File(path="unet/weights.safetensors", sha256="1" * 64, bytes=3)
    check = Verification(
        time=datetime(2026, 1, 3, tzinfo=UTC), target=facts.built_for, python="3.12.1",
        fresh_environment=True, psnr=100.0, max_abs=0, seconds=0.1, note="a note",
        variants={"decoder": "onnxruntime-cpu-fp32"},
    )  # fmt: skip
    latency = Latency(
        seconds=AROUND, p90=0.6, speedup=AROUND, memory=100.0, card_memory=50.0, measured_on="a machine",
        baseline="its authors' own", alternating=True, warm_up=12, pairs=4,
    )  # fmt: skip
    quality = Quality(
        metrics={"psnr": AROUND}, loss=AROUND, prompts=1, claims=("within 2 points",),
        pictures=(Sample(prompt=PROMPT, seed=SEED),), passed=True,
    )  # fmt: skip
    return facts.model_copy(
        update={
            "title": "four steps",
            "seed": 5,
            "source_model": facts.source_model.model_copy(
                update={
                    "revision": "2" * 40,
                    "files": (file,),
                    "added": (file,),
                    "added_licences": {file.path: "MIT"},
                }
            ),
            "output": facts.output.model_copy(
                update={"frames": 1, "pixels_per_latent": 4, "latent_scale": 0.2, "latent_shift": 0.1}
            ),
            "calibration": Calibration(id="3" * 32, source="captions", prompts=4, batches=8),
            "verified_on": (check,),
            "evidence": Evidence(run="r", candidate="c001", latency=latency, quality=quality),
            "golden": facts.golden.model_copy(
                update={"by_precision": {"int8": Tolerance(dhash_tolerance=14, minimum_psnr=20.0)}}
            ),
        }
    )


def _decoder(folder: Path) -> Path:
    folder.mkdir()
    return onnx_models(folder)["decoder"]


def _openvino(folder: Path) -> dict[str, Path]:
    path = openvino_models({"decoder": _decoder(folder)})["decoder"]
    return {path.name: path, "decoder.bin": path.with_suffix(".bin")}


def _external(folder: Path) -> dict[str, Path]:
    """As beyond 2 GiB: the weights in a file of their own."""
    import onnx

    model = onnx.load(_decoder(folder))
    path = folder / "model.onnx"
    onnx.save(
        model, path, save_as_external_data=True, location="model.onnx.data", size_threshold=0,
    )  # fmt: skip
    return {path.name: path, "model.onnx.data": folder / "model.onnx.data"}


def _compiled(folder: Path) -> dict[str, Path]:
    """A context that points to a plan beside it, as providers for NVIDIA's cards write it."""
    import onnx
    from onnx import TensorProto, helper

    folder.mkdir()
    value = helper.make_tensor_value_info
    node = helper.make_node(
        "EPContext", ["latent"], ["image"], domain="com.microsoft", embed_mode=0,
        ep_cache_context="model.plan",
    )  # fmt: skip
    graph = helper.make_graph(
        [node],
        "compiled",
        [value("latent", TensorProto.FLOAT, ["B", 4, 4, 4])],
        [value("image", TensorProto.FLOAT, ["B", 3, 16, 16])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), folder / "compiled.onnx")
    return {"compiled.onnx": folder / "compiled.onnx"} | _written(
        folder, {"model.plan": b"ptrt" + b"\1" * 60}
    )


def _mlx(folder: Path) -> dict[str, Path]:
    from safetensors.numpy import save

    program: dict[str, Any] = {"nodes": [], "constants": {"w": {"tensor": "w"}}}
    weights = save({"w": np.arange(8, dtype=np.float32)})
    return _written(folder, {"program.json": json.dumps(program).encode(), "weights.safetensors": weights})


def _torch(folder: Path) -> dict[str, Path]:
    from safetensors.numpy import save

    weights = save({"w": np.arange(4, dtype=np.float32)})
    return _written(folder, {"graph.json": b'{"nodes": []}', "weights.safetensors": weights})


def _core_ml(folder: Path) -> dict[str, Path]:
    top = "model.mlpackage"
    parts = {
        f"{top}/Manifest.json": b'{"fileFormatVersion": "1.0.0"}',
        f"{top}/Data/com.apple.CoreML/model.mlmodel": b"\x08\x09\x12\x04spec",
        f"{top}/Data/com.apple.CoreML/weights/weight.bin": bytes(range(64)),
    }
    return _written(folder, parts)


def _written(folder: Path, contents: Mapping[str, bytes]) -> dict[str, Path]:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}
