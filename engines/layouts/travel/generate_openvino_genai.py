"""Draws with this folder: python generate.py --prompt "a red house" --seed 7 --out house.png

Needs openvino-genai, numpy and Pillow.  The folder itself is what
openvino_genai.Text2ImagePipeline(FOLDER, DEVICE) loads; steps, guidance, size and
precision are no part of one, so they lie in recipe.json and are given here.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))
# OpenVINO reports its use to its makers unless it finds nothing to do so with.
cast("dict[str, ModuleType | None]", sys.modules).setdefault("openvino_telemetry", None)


def generator(seed: int, latent: list[int]) -> Any:
    """Noise by seed as the package draws it: of the latent first, then of one step after the other."""
    genai: Any = importlib.import_module("openvino_genai")
    openvino: Any = importlib.import_module("openvino")
    noise: Any = importlib.import_module("philox.noise")

    class Philox(genai.Generator):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.asked = 0

        def randn_tensor(self, shape: Any) -> Any:
            if self.asked == 0:
                drawn = noise.latent_noise(seed, tuple(latent))
            else:
                drawn = noise.step_noise(seed, self.asked - 1, tuple(latent))
            self.asked += 1
            return openvino.Tensor(np.ascontiguousarray(drawn.reshape(tuple(shape))))

        def next(self) -> float:
            raise NotImplementedError("this noise is drawn whole")

        def seed(self, new_seed: int) -> None:
            raise NotImplementedError(f"the seed {new_seed} belongs to a generator of its own")

    return Philox()


def main() -> None:
    genai: Any = importlib.import_module("openvino_genai")
    image: Any = importlib.import_module("PIL.Image")
    recipe = json.loads((FOLDER / "recipe.json").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description="Draws a picture with OpenVINO GenAI.")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("picture.png"))
    parser.add_argument("--device", default=recipe["device"], help="CPU, GPU or NPU")
    options = parser.parse_args()
    pipe = genai.Text2ImagePipeline(str(FOLDER))
    pipe.reshape(1, recipe["height"], recipe["width"], recipe["guidance"])
    pipe.compile(options.device, **recipe["properties"])
    said = {"negative_prompt": recipe["negative_prompt"]} if recipe["negative_prompt"] else {}
    tensor = pipe.generate(
        options.prompt,
        num_inference_steps=recipe["steps"],
        guidance_scale=recipe["guidance"],
        generator=generator(options.seed, recipe["latent_shape"]),
        **said,
    )
    image.fromarray(np.asarray(tensor.data)[0]).save(options.out, format="PNG")
    print(options.out)


if __name__ == "__main__":
    main()
