"""OpenVINO

Generation 1, without parents.

Why: OpenVINO alone changes no arithmetic: what the engine is worth with the pictures kept.

What is known of the quality:

- engine: Rounding only, checked for each component against eager before use.
"""

from engines.pipeline import build, plan
from engines.techniques import Engine

RECIPE = (
    Engine(backend="openvino"),
)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
