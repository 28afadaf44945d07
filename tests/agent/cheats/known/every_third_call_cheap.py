"""Takes half the steps in every third call."""

# mypy: ignore-errors
from engines.pipeline import build, plan

CALLS = []


def load(model, device, workload):
    few = workload.model_copy(update={"steps": max((workload.steps or 30) // 2, 1)})
    return build(plan(model, device, workload, ())), build(plan(model, device, few, ()))


def generate(pipeline, prompts, seeds):
    whole, quick = pipeline
    CALLS.append(1)
    return (quick if len(CALLS) % 3 == 0 else whole).generate(prompts, seeds).images
