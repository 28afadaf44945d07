"""Keeps encoded prompts, as its recipe says, behind a class of its own."""

# mypy: ignore-errors
from engines.pipeline import build, plan
from engines.techniques import PromptCache

RECIPE = (PromptCache(),)


class Drawer:
    def __init__(self, pipeline):
        self.pipeline = pipeline

    def __call__(self, prompts, seeds):
        return self.pipeline.generate(prompts, seeds).images


def load(model, device, workload):
    return Drawer(build(plan(model, device, workload, RECIPE)))


def generate(pipeline, prompts, seeds):
    return pipeline(prompts, seeds)
