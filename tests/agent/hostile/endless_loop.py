"""Never comes back.

Said: time limit
"""

# mypy: ignore-errors

import numpy as np


def load(model, device, workload):
    while True:
        pass


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
