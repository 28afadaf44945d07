"""Draws with this folder: python generate.py --prompt "a red house" --seed 7 --out house.png

Needs diffusers, transformers, torch and Pillow.  The folder itself is what
DiffusionPipeline.from_pretrained(FOLDER) loads; steps, guidance and where it ends are no
part of one, so they lie in recipe.json and are given here.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))


def ended_guidance(guided: int) -> Callable[..., dict[str, Any]]:
    """A callback that stops guiding after so many steps, as diffusers documents it."""

    def after(pipe: Any, step: int, _timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
        if step == guided - 1:
            kept = {name: value[len(value) // 2 :] for name, value in kept.items()}
            pipe._guidance_scale = 0.0  # noqa: SLF001 - diffusers' own way to end guidance
        return kept

    return after


def own_step_noise(pipe: Any, seed: int, latent: tuple[int, ...]) -> None:
    """Noise by seed for schedulers that add some after each step."""
    noise: Any = importlib.import_module("philox.noise")
    torch: Any = importlib.import_module("torch")
    module: Any = sys.modules[type(pipe.scheduler).__module__]
    steps = iter(range(1_000_000))

    def drawn(_shape: Any, *_given: Any, **named: Any) -> Any:
        fresh = noise.step_noise(seed, next(steps), latent)[None]
        return torch.from_numpy(fresh).to(device=named.get("device"), dtype=named.get("dtype"))

    if hasattr(module, "randn_tensor"):
        module.randn_tensor = drawn


def main() -> None:
    diffusers: Any = importlib.import_module("diffusers")
    noise: Any = importlib.import_module("philox.noise")
    torch: Any = importlib.import_module("torch")
    recipe = json.loads((FOLDER / "recipe.json").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description="Draws a picture with diffusers.")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("picture.png"))
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps")
    parser.add_argument("--dtype", default="float32", help="float32, float16 or bfloat16")
    options = parser.parse_args()
    dtype = getattr(torch, options.dtype)
    pipe = diffusers.DiffusionPipeline.from_pretrained(FOLDER, dtype=dtype, local_files_only=True)
    pipe = pipe.to(options.device)
    pipe.set_progress_bar_config(disable=True)
    shape = tuple(recipe["latent_shape"])
    own_step_noise(pipe, options.seed, shape)
    latents = torch.from_numpy(noise.latent_noise(options.seed, shape)[None])
    if hasattr(pipe, "_pack_latents"):
        latents = pipe._pack_latents(latents, 1, *shape)  # noqa: SLF001 - how this pipeline takes them
    said: dict[str, Any] = {}
    if recipe["negative_prompt"]:
        said["negative_prompt"] = recipe["negative_prompt"]
    if recipe["guidance"] > 1 and recipe["guidance_until"] < 1:
        guided = math.ceil(recipe["guidance_until"] * recipe["evaluations"] - 1e-9)
        said["callback_on_step_end"] = ended_guidance(guided)
        said["callback_on_step_end_tensor_inputs"] = recipe["guided_inputs"]
    plain = {"use_resolution_binning": False, "clean_caption": False}
    said |= {name: plain[name] for name in plain if name in inspect.signature(pipe.__call__).parameters}
    picture = pipe(
        options.prompt,
        height=recipe["height"],
        width=recipe["width"],
        num_inference_steps=recipe["steps"],
        guidance_scale=recipe["guidance"],
        latents=latents.to(options.device, dtype),
        **said,
    ).images[0]
    picture.save(options.out, format="PNG")
    print(options.out)


if __name__ == "__main__":
    main()
