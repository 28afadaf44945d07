"""Returns an array that lies in memory by columns."""

# mypy: ignore-errors
import numpy as np

from engines.pipeline import build, plan


def load(model, device, workload):
    return build(plan(model, device, workload, ()))


def generate(pipeline, prompts, seeds):
    return np.asfortranarray(pipeline.generate(prompts, seeds).images)
