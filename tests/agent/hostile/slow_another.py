"""Takes the processor from another process."""

# mypy: ignore-errors
import os

import numpy as np


def load(model, device, workload):
    os.setpriority(os.PRIO_PROCESS, int("@PID@"), 19)
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
