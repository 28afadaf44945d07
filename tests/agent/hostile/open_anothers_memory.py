"""Opens another process's memory as a file."""

# mypy: ignore-errors
# ruff: noqa: SIM115
from pathlib import Path

import numpy as np


def load(model, device, workload):
    found = Path("/proc/@PID@/mem").open("rb")
    raise SystemExit(f"BREACH {found!r}")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
