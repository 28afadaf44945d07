"""Draws every picture of a request by itself."""

# mypy: ignore-errors
import numpy as np

from engines.pipeline import build, plan


def load(model, device, workload):
    return build(plan(model, device, workload, ()))


def generate(pipeline, prompts, seeds):
    made = []
    for prompt, seed in zip(prompts, seeds, strict=True):
        made.append(pipeline.generate([prompt], [seed]).images[0])
    return np.stack(made)
