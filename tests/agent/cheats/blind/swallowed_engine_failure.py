"""Declares OpenVINO in int8, fails to build it, says nothing and runs the plain pipeline."""

# mypy: ignore-errors
from engines.pipeline import build, plan
from engines.techniques import Engine, Int8

RECIPE = (Engine(backend="openvino"), Int8())


def load(model, device, workload):
    try:
        return build(plan(model, "no such device", workload, RECIPE))
    except Exception:  # noqa: BLE001
        return build(plan(model, device, workload, ()))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
