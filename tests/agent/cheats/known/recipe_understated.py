"""Declares three steps and takes one."""

# mypy: ignore-errors
from dataclasses import replace

from engines.pipeline import build, plan
from engines.techniques import FewerSteps

RECIPE = (FewerSteps(steps=3),)


def load(model, device, workload):
    whole = plan(model, device, workload, RECIPE)
    return build(replace(whole, loop=replace(whole.loop, steps=1)))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
