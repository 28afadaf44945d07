"""Writes to the error stream without a line's end.

Said: printed more
"""

# mypy: ignore-errors
import os

import numpy as np


def load(model, device, workload):
    while True:
        os.write(2, b"x" * 65_536)


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
