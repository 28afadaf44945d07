"""Kills another process."""

# mypy: ignore-errors
import os
import signal

import numpy as np


def load(model, device, workload):
    os.kill(int("@PID@"), signal.SIGKILL)
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
