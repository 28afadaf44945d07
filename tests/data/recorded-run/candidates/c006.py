"""OpenVINO + guidance to 80% + prompt cache

Generation 1, without parents.

Why: Nearly lossless: OpenVINO and a prompt cache keep the pictures, and the last fifth of the steps
seldom needs guidance.

What is known of the quality:

- guidance-cutoff: Late steps hardly need guidance; cut too early, detail and obedience to the
prompt are lost (practitioners see it at 40 %).
- prompt-cache: None: the same embeddings.
- engine: Rounding only, checked for each component against eager before use.
"""

from engines.pipeline import build, plan
from engines.techniques import Engine, GuidanceCutoff, PromptCache

RECIPE = (
    GuidanceCutoff(until=0.8),
    PromptCache(),
    Engine(backend="openvino"),
)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
