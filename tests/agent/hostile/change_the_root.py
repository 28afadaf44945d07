"""Changes its root folder to get out of it."""

# mypy: ignore-errors
# ruff: noqa: PTH102
import os

import numpy as np


def load(model, device, workload):
    os.mkdir("inner")
    os.chroot("inner")
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
