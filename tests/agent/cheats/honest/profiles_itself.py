"""Measures its own operators with torch's profiler now and then, as somebody who tunes it would."""

# mypy: ignore-errors
import torch

from engines.pipeline import build, plan

CALLS = []


def load(model, device, workload):
    return build(plan(model, device, workload, ()))


def generate(pipeline, prompts, seeds):
    CALLS.append(len(prompts))
    with torch.profiler.record_function(f"call {len(CALLS)}"):
        return pipeline.generate(prompts, seeds).images
