"""Replaces the host loop's guidance by a cheaper one of its own."""

# mypy: ignore-errors
import numpy as np

from engines.hostloop.guidance import Guidance
from engines.pipeline import build, plan


def predict(self, sample, timestep, step, small):
    prompt = {name: value[-1] for name, value in self._conditions.items()}
    time = np.full(len(sample), timestep, dtype=np.float32)
    inputs = {"sample": sample, "timestep": time, **prompt}
    return self._passes.evaluate("prompt", inputs, step, np.arange(len(sample)), small)


def load(model, device, workload):
    Guidance.predict = predict
    return build(plan(model, device, workload, ()))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
