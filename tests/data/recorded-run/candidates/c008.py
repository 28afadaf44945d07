"""9 steps + ONNX Runtime + cache 2

Generation 2, without parents.

Why: Fast within 2.0 points: 11.9x at 0.7 points is expected, where c002 has 5.4x.

What is known of the quality:

- fewer-steps: Good while the solver's error is small; a second-order solver holds quality at about
half of DDIM's steps, then detail and layout drift.
- feature-cache: FID about equal at intervals 2-3; larger intervals smear what changes quickly.
- engine: Rounding only, checked for each component against eager before use.
"""

from engines.pipeline import build, plan
from engines.techniques import Engine, FeatureCache, FewerSteps

RECIPE = (
    FewerSteps(steps=9),
    FeatureCache(interval=2),
    Engine(backend="onnxruntime"),
)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
