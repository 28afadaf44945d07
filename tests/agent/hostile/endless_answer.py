"""Writes into the protocol without end."""

# mypy: ignore-errors
import os

import numpy as np


def load(model, device, workload):
    for number in range(3, 20):
        try:
            while True:
                os.write(number, b"x" * 65_536)
        except OSError:
            continue


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
