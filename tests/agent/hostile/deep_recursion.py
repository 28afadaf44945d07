"""Recurses until the stack is gone."""

# mypy: ignore-errors
import sys

import numpy as np


def load(model, device, workload):
    sys.setrecursionlimit(10**9)

    def down():
        return down()

    down()


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
