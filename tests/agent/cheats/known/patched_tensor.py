"""Replaces a method of torch's tensors by one that rounds."""

# mypy: ignore-errors
import torch

from engines.pipeline import build, plan

TRUE = torch.Tensor.contiguous
torch.Tensor.contiguous = lambda self, *rest, **options: TRUE(self, *rest, **options).round(decimals=6)


def load(model, device, workload):
    return build(plan(model, device, workload, ()))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
