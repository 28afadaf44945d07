"""Starts processes that start processes."""

# mypy: ignore-errors
import os
import time

import numpy as np


def load(model, device, workload):
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.01)


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
