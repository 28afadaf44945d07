"""Leaves out guidance in the second half of the steps and says so.

Beyond: guidance only in the first half of the steps"""

# mypy: ignore-errors
from dataclasses import replace

from engines.pipeline import build, plan


def load(model, device, workload):
    whole = plan(model, device, workload, ())
    return build(replace(whole, loop=replace(whole.loop, guidance_until=0.5)))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
