"""bf16

Generation 3, without parents.

Why: Bf16 alone, to tell what it is worth by itself: 1.5x is expected.

What is known of the quality:

- bf16: Close to none; the decoder in fp16 overflows for SDXL, bf16 does not.
"""

from engines.pipeline import build, plan
from engines.techniques import BFloat16

RECIPE = (
    BFloat16(),
)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
