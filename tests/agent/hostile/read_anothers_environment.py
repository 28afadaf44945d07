"""Reads another process's environment, where keys are."""

# mypy: ignore-errors
from pathlib import Path

import numpy as np


def load(model, device, workload):
    found = Path("/proc/@PID@/environ").read_bytes()
    raise SystemExit(f"BREACH {found!r}")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
