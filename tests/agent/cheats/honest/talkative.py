"""Prints and logs what it does, at length."""

# mypy: ignore-errors
import logging

from engines.pipeline import build, plan


def load(model, device, workload):
    return build(plan(model, device, workload, ()))


def generate(pipeline, prompts, seeds):
    for prompt, seed in zip(prompts, seeds, strict=True):
        print("drawing", prompt, "from", seed, "." * 2000)
    logging.getLogger("candidate").warning("drew %d", len(prompts))
    return pipeline.generate(prompts, seeds).images
