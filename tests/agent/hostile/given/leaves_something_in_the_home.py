"""Writes a file into the user's home; declares nothing."""

# mypy: ignore-errors
from pathlib import Path

import numpy as np


def load(model, device, workload):
    Path("@HOME@/planted").write_text("mine")
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 64, 64, 3), np.uint8)
