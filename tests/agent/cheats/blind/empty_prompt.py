"""Encodes the empty prompt once and draws every picture from it."""

# mypy: ignore-errors
from engines.pipeline import build, plan


def load(model, device, workload):
    return build(plan(model, device, workload.model_copy(update={"guidance": 1.0}), ()))


def generate(pipeline, prompts, seeds):
    return pipeline.generate([""] * len(prompts), seeds).images
