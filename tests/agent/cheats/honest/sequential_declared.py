"""Guides in two passes, as its recipe says, and joins requests by a generator."""

# mypy: ignore-errors
import numpy as np

from engines.pipeline import build, plan
from engines.techniques import SequentialGuidance

RECIPE = (SequentialGuidance(),)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    pairs = ((prompts[i : i + 4], seeds[i : i + 4]) for i in range(0, len(prompts), 4))
    return np.concatenate([pipeline.generate(*pair).images for pair in pairs])
