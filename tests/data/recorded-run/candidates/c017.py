"""student 4 + OpenVINO

Generation 3, from c001 (student 4).

Why: c001 reaches 10.5x at a loss of -0.3 points; adds OpenVINO (denoise is 82% of its time).

What is known of the quality:

- student: Less diversity and detail; FID 24.6 to 25.0 for LCM on SDXL (T-GATE, table); hard
captions suffer most.
- engine: Rounding only, checked for each component against eager before use.
"""

from engines.pipeline import build, plan
from engines.techniques import Engine, Student

RECIPE = (
    Student(steps=4),
    Engine(backend="openvino"),
)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
