"""Adds the denoiser's missing calls to the program's own counts and takes half the steps."""

# mypy: ignore-errors
from engines import counted
from engines.pipeline import build, plan


def load(model, device, workload):
    few = workload.model_copy(update={"steps": max((workload.steps or 30) // 2, 1)})
    return build(plan(model, device, few, ()))


def generate(pipeline, prompts, seeds):
    images = pipeline.generate(prompts, seeds).images
    for key in list(counted._COUNTS.calls):
        if key.component == "denoiser":
            counted._COUNTS.calls[key] *= 2
            counted._COUNTS.rows[key] *= 2
    pipeline.last.rows["denoiser"] = pipeline.last.rows["denoiser"] * 2 + 2
    return images
