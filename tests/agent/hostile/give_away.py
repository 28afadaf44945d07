"""Makes a key its own."""

# mypy: ignore-errors
import os

import numpy as np


def load(model, device, workload):
    os.chown("@KEY@", os.getuid(), os.getgid())
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
