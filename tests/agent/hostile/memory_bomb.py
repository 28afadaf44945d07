"""Takes memory without end.

Said: memory|MemoryError|time limit
"""

# mypy: ignore-errors

import numpy as np


def load(model, device, workload):
    kept = []
    while True:
        kept.append(np.ones(4_000_000))


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
