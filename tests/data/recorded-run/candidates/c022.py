"""student 4 + OpenVINO int8 + fused QKV + tiny decoder + prompt cache

Generation 4, from c019 (student 3 + OpenVINO int8 + fused QKV + tiny decoder + prompt cache).

Why: c019 reaches 48.8x at a loss of 1.2 points; from 22 verdicts the Gaussian process expects the
front to gain most by student steps 4 (was 3).

What is known of the quality:

- student: Less diversity and detail; FID 24.6 to 25.0 for LCM on SDXL (T-GATE, table); hard
captions suffer most.
- fused-qkv: None: the same sums in another order.
- tiny-decoder: Fine detail is lost or invented; colours and layout stay.
- prompt-cache: None: the same embeddings.
- engine: Rounding only, checked for each component against eager before use.
- int8: Plain post-training int8 of all layers did not hold quality on SD, training with
quantisation did; calibrate over all timesteps.
"""

from engines.pipeline import build, plan
from engines.techniques import Engine, FusedQKV, Int8, PromptCache, Student, TinyDecoder

RECIPE = (
    Student(steps=4),
    FusedQKV(),
    TinyDecoder(),
    PromptCache(),
    Engine(backend="openvino"),
    Int8(),
)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
