"""12 steps

Generation 1, without parents.

Why: Denoising takes 98% of the time; 12 steps instead of 30 need no engine; alone, to know its
worth.

What is known of the quality:

- fewer-steps: Good while the solver's error is small; a second-order solver holds quality at about
half of DDIM's steps, then detail and layout drift.
"""

from engines.pipeline import build, plan
from engines.techniques import FewerSteps

RECIPE = (
    FewerSteps(steps=12),
)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
