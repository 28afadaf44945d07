"""Has names that look like a cheat's and does nothing of the kind."""

# mypy: ignore-errors
from engines.pipeline import build, plan

cached_reference = {"fake": "timer"}


def skip_steps_cache(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images


def load(model, device, workload):
    return build(plan(model, device, workload, ()))


def generate(pipeline, prompts, seeds):
    return skip_steps_cache(pipeline, prompts, seeds)
