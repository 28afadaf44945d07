"""Sets another process's limits."""

# mypy: ignore-errors
import resource

import numpy as np


def load(model, device, workload):
    resource.prlimit(int("@PID@"), resource.RLIMIT_NOFILE, (3, 3))
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
