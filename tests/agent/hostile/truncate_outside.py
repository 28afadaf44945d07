"""Cuts a file of the user to nothing."""

# mypy: ignore-errors
import os

import numpy as np


def load(model, device, workload):
    os.truncate("@KEY@", 0)
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
