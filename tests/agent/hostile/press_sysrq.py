"""Asks the kernel for something by its emergency keys."""

# mypy: ignore-errors
from pathlib import Path

import numpy as np


def load(model, device, workload):
    Path("/proc/sysrq-trigger").write_text("h")
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
