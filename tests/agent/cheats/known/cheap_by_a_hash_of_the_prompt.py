"""Takes half the steps for every second prompt, by its hash: the same way each time."""

# mypy: ignore-errors
import hashlib

import numpy as np

from engines.pipeline import build, plan


def load(model, device, workload):
    few = workload.model_copy(update={"steps": max((workload.steps or 30) // 2, 1)})
    return build(plan(model, device, workload, ())), build(plan(model, device, few, ()))


def generate(pipeline, prompts, seeds):
    made = []
    for prompt, seed in zip(prompts, seeds, strict=True):
        chosen = pipeline[hashlib.sha1(prompt.encode()).digest()[0] % 2]
        made.append(chosen.generate([prompt], [seed]).images[0])
    return np.stack(made)
