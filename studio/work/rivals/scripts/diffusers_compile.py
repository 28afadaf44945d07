"""diffusers with torch.compile, as diffusers' own guide says: the denoiser and the decoder compiled."""

from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from engines.hostloop import latent_noise
from engines.models.load import open_model
from engines.workload import Workload


class Compiled:
    def __init__(self, model: str, device: str, workload: Workload) -> None:
        source = open_model(model)
        self.pipe = StableDiffusionPipeline.from_pretrained(
            source.path, dtype=torch.float32, safety_checker=None, requires_safety_checker=False
        ).to(device)
        self.pipe.set_progress_bar_config(disable=True)
        self.pipe.unet = torch.compile(self.pipe.unet, fullgraph=True)
        self.pipe.vae.decode = torch.compile(self.pipe.vae.decode, fullgraph=True)
        self.size = workload.size or source.size
        self.steps = workload.steps or source.steps
        self.guidance = source.guidance if workload.guidance is None else workload.guidance
        self.negative_prompt = workload.negative_prompt
        side = self.size // self.pipe.vae_scale_factor
        self.latent_shape = (self.pipe.unet.config.in_channels, side, side)

    @torch.inference_mode()
    def one(self, prompt: str, seed: int) -> Any:
        drawn = self.pipe(
            prompt,
            negative_prompt=self.negative_prompt or None,
            latents=torch.from_numpy(latent_noise(seed, self.latent_shape))[None],
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
            height=self.size,
            width=self.size,
            output_type="np",
        ).images[0]
        return (drawn * 255).round().astype(np.uint8)


def load(model: str, device: str, workload: Workload) -> Any:
    made = Compiled(model, device, workload)
    made.one("", 0)  # compiles now, not in the first picture
    return made


def generate(pipeline: Any, prompts: list[str], seeds: list[int]) -> Any:
    return np.stack([pipeline.one(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)])
