"""Kills every process that it can."""

# mypy: ignore-errors
import os
import signal

import numpy as np


def load(model, device, workload):
    os.kill(-1, signal.SIGKILL)


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
