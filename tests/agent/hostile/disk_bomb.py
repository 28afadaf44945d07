"""Fills its folder with files.

Said: MiB|No space|File too large|wrote
"""

# mypy: ignore-errors
# ruff: noqa: PTH123

import numpy as np


def load(model, device, workload):
    for index in range(10_000):
        with open(f"file{index}", "wb") as file:
            file.write(bytes(4_000_000))


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
