"""A cascade of the tiny pipeline in `package_parts`: fewer steps before more, and a small discriminator."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from engines.hostloop import Loop, LoopSettings
from engines.package.cascade import DISCRIMINATOR, LIGHT, bag, encode, pixels
from engines.package.components import load
from engines.package.evidence import Interval
from engines.package.likeness import dhash
from engines.package.manifest import (
    CascadeFacts,
    Discriminator,
    Engine,
    Facts,
    Operation,
    Tensor,
)
from engines.package.write import Contents, EngineFiles, cluster_program, program
from studio.work.cascade.travel import PLANNER, planner_files
from tests.engines.package_parts import PROMPT, SEED, SETTINGS, contents

SIDE, WORDS = 8, 32
FEWER = replace(SETTINGS, steps=2)
THRESHOLD = 0.5
GOOD, POOR = "a blue house", "a red house"
"""The discriminator likes blue and not red."""
GOLDEN_LIGHT = "golden-light.png"


def discriminator(folder: Path) -> Path:
    """Score = sigmoid of what the words say, and a little of the picture."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.zeros((WORDS, 1), np.float32)
    for word, weight in (("red", -8.0), ("blue", 8.0)):
        weights[zlib.crc32(word.encode()) % WORDS] = weight
    floats, node = TensorProto.FLOAT, helper.make_node
    graph = helper.make_graph(
        [
            node("ReduceMean", ["pixels", "axes"], ["bright"], keepdims=0),
            node("MatMul", ["words", "weights"], ["said"]),
            node("Squeeze", ["said", "last"], ["meant"]),
            node("Mul", ["bright", "little"], ["shade"]),
            node("Add", ["meant", "shade"], ["sum"]),
            node("Sigmoid", ["sum"], ["score"]),
        ],
        DISCRIMINATOR,
        [
            helper.make_tensor_value_info("pixels", floats, ["B", 3, SIDE, SIDE]),
            helper.make_tensor_value_info("words", floats, ["B", WORDS]),
        ],
        [helper.make_tensor_value_info("score", floats, ["B"])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes"),
            numpy_helper.from_array(np.array([1], np.int64), "last"),
            numpy_helper.from_array(np.array(0.1, np.float32), "little"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    path = folder / "discriminator.onnx"
    onnx.save(model, path)
    return path


def cascade_contents(folder: Path) -> Contents:
    """Everything of a cascade's package; light and heavy share all engine files."""
    heavy = contents(folder)
    path = discriminator(folder)
    judge = EngineFiles(
        component=DISCRIMINATOR,
        engine=Engine.model_validate(
            {"engine": "onnxruntime", "model_file": path.name, "precision": "fp32", "options": {}}
        ),
        files={path.name: path},
        inputs=(Tensor(name="pixels", dtype="float32", shape=("B", 3, SIDE, SIDE)),),
        outputs=(Tensor(name="score", dtype="float32", shape=("B",)),),
        built_for=heavy.engines[0].built_for,
    )
    picture = draw(heavy, FEWER)
    component = load(folder, judge.engine.model_dump())
    given = {"pixels": pixels(picture[None], SIDE), "words": bag([PROMPT], WORDS)}
    score = float(component(given)["score"][0])

    def facts(place: str) -> Facts:
        whole = heavy.facts(place)
        golden = whole.golden.model_copy(update={"image": GOLDEN_LIGHT, "dhash": dhash(picture)})
        light = whole.model_copy(update={"golden": golden, "host_loop": FEWER.to_json(), "title": "fewer"})
        cascade = CascadeFacts(
            light=light,
            discriminator=Discriminator(
                side=SIDE, words=WORDS, target="blue", metric="adherence", margin=0.05, samples=50,
                brier=0.1, seconds=0.001, golden_score=score, score_tolerance=0.01,
            ),
            threshold=THRESHOLD,
            share=0.5,
            curve=tuple(_operation(at / 10) for at in range(11)),
        )  # fmt: skip
        return whole.model_copy(update={"cascade": cascade})

    return replace(
        heavy,
        name="tiny-cascade",
        engines=(
            *(replace(part, component=LIGHT + part.component) for part in heavy.engines),
            *heavy.engines,
            judge,
        ),
        facts=facts,
        more={
            "run.py": program(PLANNER).encode(),
            "ray_app.py": cluster_program(PLANNER).encode(),
            GOLDEN_LIGHT: encode(picture),
            **planner_files(),
        },
    )


def _operation(threshold: float) -> Operation:
    quality = 0.9 + 0.1 * threshold
    return Operation(
        threshold=threshold,
        share=threshold,
        seconds=Interval(value=0.1, low=0.1, high=0.1),
        quality=Interval(value=quality, low=quality, high=quality),
    )


def draw(made: Contents, settings: LoopSettings, prompt: str = PROMPT, seed: int = SEED) -> NDArray[np.uint8]:
    """A picture by the package's engines, without the package."""
    components = {
        part.component: load(next(iter(part.files.values())).parent, part.engine.model_dump())
        for part in made.engines
        if part.component in ("text_encoder", "denoiser", "decoder")
    }
    loop = Loop(components, Tokenizer.from_file(str(made.tokenizer)), settings)
    picture: NDArray[np.uint8] = loop.generate([prompt], [seed]).images[0]
    return picture
