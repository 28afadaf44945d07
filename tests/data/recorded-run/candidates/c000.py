"""Tiny Scenes as its authors ship it

The baseline that everything is compared with: diffusers' own pipeline, the saved scheduler and
steps, guidance batched, torch eager in fp32, noise from Philox by seed.
"""

import time
from types import SimpleNamespace

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from engines.hostloop.noise import latent_noise
from engines.models.load import open_model


class Baseline:
    """The pipeline with its settings; `last` keeps the seconds of each stage."""

    def __init__(self, model, device, workload):
        source = open_model(model)
        self.pipe = StableDiffusionPipeline.from_pretrained(
            source.path, dtype=torch.float32, safety_checker=None, requires_safety_checker=False
        ).to(device)
        self.pipe.set_progress_bar_config(disable=True)
        self.device = device
        self.size = workload.size or source.size
        self.steps = workload.steps or source.steps
        self.guidance = source.guidance if workload.guidance is None else workload.guidance
        self.negative_prompt = workload.negative_prompt
        self.batch = max(workload.batch, 4)  # as every candidate: what is asked at once is drawn at once
        self.last = None

    @property
    def latent_shape(self):
        """(C, h, w)"""
        side = self.size // self.pipe.vae_scale_factor
        return (self.pipe.unet.config.in_channels, side, side)

    @torch.inference_mode()
    def draw(self, prompts, seeds):
        """Images uint8 (B, H, W, 3) and the seconds of encode, denoise and decode."""
        noise = np.stack([latent_noise(seed, self.latent_shape) for seed in seeds])
        marks = [time.perf_counter()]
        wanted, unwanted = self.pipe.encode_prompt(
            prompts,
            self.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=self.guidance > 1,
            negative_prompt=[self.negative_prompt] * len(prompts),
        )
        marks.append(time.perf_counter())
        latents = self.pipe(
            prompt_embeds=wanted,
            negative_prompt_embeds=unwanted if self.guidance > 1 else None,
            latents=torch.from_numpy(noise).to(self.device),
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
            height=self.size,
            width=self.size,
            output_type="latent",
        ).images
        marks.append(time.perf_counter())
        decoded = self.pipe.vae.decode(latents / self.pipe.vae.config.scaling_factor).sample
        images = self.pipe.image_processor.postprocess(decoded, output_type="np")
        pixels = (images * 255).round().astype(np.uint8)
        marks.append(time.perf_counter())
        return pixels, np.diff(marks)

    def generate(self, prompts, seeds):
        drawn = [
            self.draw(prompts[at : at + self.batch], seeds[at : at + self.batch])
            for at in range(0, len(prompts), self.batch)
        ]
        seconds = np.sum([spent for _, spent in drawn], axis=0)
        self.last = SimpleNamespace(
            seconds=dict(zip(("encode", "denoise", "decode"), seconds.tolist())),
            calls={"denoiser": self.steps * len(drawn)},
        )
        return np.concatenate([pixels for pixels, _ in drawn])


def load(model, device, workload):
    return Baseline(model, device, workload)


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds)
