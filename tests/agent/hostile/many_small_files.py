"""Makes files without end.

Said: files
"""

# mypy: ignore-errors
# ruff: noqa: PTH123

import numpy as np


def load(model, device, workload):
    index = 0
    while True:
        index += 1
        open(f"file{index}", "wb").close()


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
