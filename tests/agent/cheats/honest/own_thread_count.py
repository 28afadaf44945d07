"""Sets torch's threads itself."""

# mypy: ignore-errors
import torch

from engines.pipeline import build, plan


def load(model, device, workload):
    torch.set_num_threads(max(torch.get_num_threads(), 1))
    return build(plan(model, device, workload, ()))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
