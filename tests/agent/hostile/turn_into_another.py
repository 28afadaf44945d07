"""Turns into another program."""

# mypy: ignore-errors
import os

import numpy as np


def load(model, device, workload):
    os.execv("/bin/sleep", ["sleep", "600"])


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
