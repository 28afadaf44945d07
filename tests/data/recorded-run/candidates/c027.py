"""guidance to 60%

Generation 4, without parents.

Why: Guidance cutoff alone, to tell what it is worth by itself: 1.4x is expected.

What is known of the quality:

- guidance-cutoff: Late steps hardly need guidance; cut too early, detail and obedience to the
prompt are lost (practitioners see it at 40 %).
"""

from engines.pipeline import build, plan
from engines.techniques import GuidanceCutoff

RECIPE = (
    GuidanceCutoff(until=0.6),
)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
