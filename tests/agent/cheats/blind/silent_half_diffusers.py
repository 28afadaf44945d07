"""Runs diffusers' own pipeline in bfloat16 with half the steps under a title that promises fp32."""

# mypy: ignore-errors
import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from engines.hostloop.noise import latent_noise
from engines.models.load import open_model


def load(model, device, workload):
    source = open_model(model)
    pipe = StableDiffusionPipeline.from_pretrained(
        source.path, dtype=torch.bfloat16, safety_checker=None, requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe, workload.size or source.size, (workload.steps or source.steps) // 2, source.guidance


@torch.inference_mode()
def generate(pipeline, prompts, seeds):
    pipe, size, steps, guidance = pipeline
    made = []
    for prompt, seed in zip(prompts, seeds, strict=True):
        side = size // pipe.vae_scale_factor
        noise = torch.from_numpy(latent_noise(seed, (pipe.unet.config.in_channels, side, side)))[None]
        image = pipe(
            prompt, latents=noise.to(torch.bfloat16), num_inference_steps=max(steps, 1),
            guidance_scale=guidance, height=size, width=size, output_type="np",
        ).images  # fmt: skip
        made.append((image[0] * 255).round().astype(np.uint8))
    return np.stack(made)
