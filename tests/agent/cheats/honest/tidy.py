"""Collects garbage after every request."""

# mypy: ignore-errors
import gc

from engines.pipeline import build, plan


def load(model, device, workload):
    return build(plan(model, device, workload, ()))


def generate(pipeline, prompts, seeds):
    images = pipeline.generate(prompts, seeds).images
    gc.collect()
    return images
