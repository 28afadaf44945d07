"""Decodes in tiles, as its recipe says: no convolution works at the whole picture's size."""

# mypy: ignore-errors
from engines.pipeline import build, plan
from engines.techniques import VaeTiling

RECIPE = (VaeTiling(tiles=2),)


def load(model, device, workload):
    made = build(plan(model, device, workload, RECIPE))
    assert made.plan.loop.decode_tiles == 2
    return made


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
