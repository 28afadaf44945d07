"""Opens files without end."""

# mypy: ignore-errors
# ruff: noqa: F841, PTH123, SIM115

import numpy as np


def load(model, device, workload):
    kept = [open("/dev/null") for _ in range(100_000)]
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
