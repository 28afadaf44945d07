"""cache 2

Generation 3, without parents.

Why: Feature cache alone, to tell what it is worth by itself: 1.4x is expected.

What is known of the quality:

- feature-cache: FID about equal at intervals 2-3; larger intervals smear what changes quickly.
"""

from engines.pipeline import build, plan
from engines.techniques import FeatureCache

RECIPE = (
    FeatureCache(interval=2),
)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
