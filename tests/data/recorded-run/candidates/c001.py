"""student 4

Generation 1, without parents.

Why: Denoising takes 98% of the time and the few-step student needs a handful of passes where the
model takes 60; with no engine to build, this gives the first point soonest.

What is known of the quality:

- student: Less diversity and detail; FID 24.6 to 25.0 for LCM on SDXL (T-GATE, table); hard
captions suffer most.
"""

from engines.pipeline import build, plan
from engines.techniques import Student

RECIPE = (
    Student(steps=4),
)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
