"""Declares another solver and takes half the steps with it as well."""

# mypy: ignore-errors
from dataclasses import replace

from engines.pipeline import build, plan
from engines.techniques import Scheduler

RECIPE = (Scheduler(name="dpm++2m"),)


def load(model, device, workload):
    whole = plan(model, device, workload, RECIPE)
    return build(replace(whole, loop=replace(whole.loop, steps=max(whole.loop.steps // 2, 1))))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
