"""Reads a key in the user's home."""

# mypy: ignore-errors
from pathlib import Path

import numpy as np


def load(model, device, workload):
    found = Path("@KEY@").read_text()
    raise SystemExit(f"BREACH {found!r}")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
