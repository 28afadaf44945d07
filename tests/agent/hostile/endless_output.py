"""Prints without end.

Said: printed more
"""

# mypy: ignore-errors

import numpy as np


def load(model, device, workload):
    while True:
        print("x" * 100_000)


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
