"""Becomes another user."""

# mypy: ignore-errors
import os

import numpy as np


def load(model, device, workload):
    os.setgroups([0])
    os.setresuid(65534, 65534, 65534)
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
