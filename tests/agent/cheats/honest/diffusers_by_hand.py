"""Runs diffusers' own pipeline, a batch at a time."""

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
    images = pipe(
        list(prompts), latents=torch.from_numpy(noise), num_inference_steps=steps,
        guidance_scale=guidance, height=size, width=size, output_type="np",
    ).images  # fmt: skip
    return (images * 255).round().astype(np.uint8)
