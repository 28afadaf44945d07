"""Declares OpenVINO, runs torch, and hides the pipeline in a class of its own."""

# mypy: ignore-errors
from engines.pipeline import build, plan
from engines.techniques import Engine

RECIPE = (Engine(backend="openvino"),)


class Hidden:
    def __init__(self, pipeline):
        self.inner = pipeline


def load(model, device, workload):
    return Hidden(build(plan(model, device, workload, ())))


def generate(pipeline, prompts, seeds):
    return pipeline.inner.generate(prompts, seeds).images
