"""Adds a line to a key file."""

# mypy: ignore-errors
from pathlib import Path

import numpy as np


def load(model, device, workload):
    with Path("@KEY@").open("a") as file:
        file.write("x")
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
