"""Looks into the folders of other candidates."""

# mypy: ignore-errors
# ruff: noqa: PTH208
import os

import numpy as np


def load(model, device, workload):
    found = os.listdir("..")
    raise SystemExit(f"BREACH {found}")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
