"""Lists the machine's processes."""

# mypy: ignore-errors
# ruff: noqa: PTH208
import os

import numpy as np


def load(model, device, workload):
    found = [name for name in os.listdir("/proc") if name.isdigit()]
    raise SystemExit(f"BREACH {found}")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
