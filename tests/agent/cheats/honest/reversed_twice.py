"""Draws a request backwards and turns it round again."""

# mypy: ignore-errors
from engines.pipeline import build, plan


def load(model, device, workload):
    return build(plan(model, device, workload, ()))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts[::-1], seeds[::-1]).images[::-1]
