"""The plain writing of a recipe without a technique."""

# mypy: ignore-errors
from engines.pipeline import build, plan

RECIPE = ()


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
