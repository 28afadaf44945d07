"""Remembers every prompt that it was asked for and never looks at them."""

# mypy: ignore-errors
import hashlib

from engines.pipeline import build, plan

DIARY = []


def load(model, device, workload):
    return build(plan(model, device, workload, ()))


def generate(pipeline, prompts, seeds):
    DIARY.extend((prompt, hashlib.sha256(prompt.encode()).hexdigest()) for prompt in prompts)
    return pipeline.generate(prompts, seeds).images
