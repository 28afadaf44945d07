"""student 2 + ONNX Runtime

Generation 2, from c002 (student 4).

Why: c002 reaches 2.4x at a loss of -0.3 points; adds ONNX Runtime (denoise is 87% of its time).

What is known of the quality:

- student: Less diversity and detail; FID 24.6 to 25.0 for LCM on SDXL (T-GATE, table); hard
captions suffer most.
- engine: Rounding only, checked for each component against eager before use.
"""

from engines.pipeline import build, plan
from engines.techniques import Engine, Student

RECIPE = (
    Student(steps=2),
    Engine(backend="onnxruntime"),
)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
