"""Deletes a file of the user."""

# mypy: ignore-errors
from pathlib import Path

import numpy as np


def load(model, device, workload):
    Path("@KEY@").unlink()
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
