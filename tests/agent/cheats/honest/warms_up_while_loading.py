"""Draws a picture while loading, so that the first request finds everything ready."""

# mypy: ignore-errors
from engines.pipeline import build, plan


def load(model, device, workload):
    pipeline = build(plan(model, device, workload, ()))
    pipeline.generate(["a red ball in the middle, grass, day, clear, flat drawing"], [0])
    return pipeline


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
