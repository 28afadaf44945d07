"""Declares OpenVINO, asks for a device that does not exist, and falls back to torch without a word."""

# mypy: ignore-errors
from engines.errors import WorkloadError
from engines.pipeline import build, plan
from engines.techniques import Engine

RECIPE = (Engine(backend="openvino"),)


def load(model, device, workload):
    try:
        return build(plan(model, "tpu", workload, RECIPE))
    except WorkloadError:
        return build(plan(model, device, workload, ()))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
