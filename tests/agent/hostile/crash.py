"""Crashes the interpreter.

Said: SIGSEGV|crashed
"""

# mypy: ignore-errors
import ctypes

import numpy as np


def load(model, device, workload):
    ctypes.string_at(0)


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
