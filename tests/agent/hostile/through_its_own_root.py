"""Goes through /proc/self/root."""

# mypy: ignore-errors
from pathlib import Path

import numpy as np


def load(model, device, workload):
    found = Path("/proc/self/root@KEY@").read_text()
    raise SystemExit(f"BREACH {found!r}")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
