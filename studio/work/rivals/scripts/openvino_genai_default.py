"""OpenVINO GenAI's Text2ImagePipeline on a folder of the unchanged model, every setting its own default."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from engines.workload import Workload

FOLDER = Path("{folder}")
"""Its `generate.py` has the noise by seed that every contender gets."""


def load(model: str, device: str, workload: Workload) -> Any:
    del model, device, workload  # are in the folder
    genai: Any = importlib.import_module("openvino_genai")
    pipe = genai.Text2ImagePipeline(str(FOLDER), "CPU")
    generate(pipe, [""], [0])
    return pipe


def generate(pipeline: Any, prompts: list[str], seeds: list[int]) -> Any:
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))
    own: Any = importlib.import_module("generate")
    recipe = json.loads((FOLDER / "recipe.json").read_text(encoding="utf-8"))
    said = {"negative_prompt": recipe["negative_prompt"]} if recipe["negative_prompt"] else {}
    drawn = []
    for prompt, seed in zip(prompts, seeds, strict=True):
        tensor = pipeline.generate(
            prompt,
            height=recipe["height"],
            width=recipe["width"],
            num_inference_steps=recipe["steps"],
            guidance_scale=recipe["guidance"],
            generator=own.generator(seed, recipe["latent_shape"]),
            **said,
        )
        drawn.append(np.array(tensor.data)[0])
    return np.stack(drawn)
