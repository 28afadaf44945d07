"""Lists the user's home."""

# mypy: ignore-errors
# ruff: noqa: PTH208
import os

import numpy as np


def load(model, device, workload):
    found = os.listdir("@HOME@")
    raise SystemExit(f"BREACH {found!r}")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
