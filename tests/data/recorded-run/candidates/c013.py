"""OpenVINO int8

Generation 2, without parents.

Why: Int8 with OpenVINO alone, to tell what it is worth by itself: 2.7x is expected.

What is known of the quality:

- engine: Rounding only, checked for each component against eager before use.
- int8: Plain post-training int8 of all layers did not hold quality on SD, training with
quantisation did; calibrate over all timesteps.
"""

from engines.pipeline import build, plan
from engines.techniques import Engine, Int8

RECIPE = (
    Engine(backend="openvino"),
    Int8(),
)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
