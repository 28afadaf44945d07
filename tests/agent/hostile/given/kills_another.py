"""Kills another process; declares nothing."""

# mypy: ignore-errors
import pathlib

import numpy as np


def load(model, device, workload):
    vars(pathlib)["os"].kill(int("@PID@"), 9)
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 64, 64, 3), np.uint8)
