"""Writes into the user's home."""

# mypy: ignore-errors
from pathlib import Path

import numpy as np


def load(model, device, workload):
    Path("@HOME@/planted").write_text("x")
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
