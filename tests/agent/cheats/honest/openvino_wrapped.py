"""Runs the declared engine behind a partial function."""

# mypy: ignore-errors
from functools import partial

from engines.pipeline import build, plan
from engines.techniques import Engine

RECIPE = (Engine(backend="openvino"),)


def draw(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images


def load(model, device, workload):
    return partial(draw, build(plan(model, device, workload, RECIPE)))


def generate(pipeline, prompts, seeds):
    return pipeline(prompts, seeds)
