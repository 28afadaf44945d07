"""Writes one file without end.

Said: File too large
"""

# mypy: ignore-errors
# ruff: noqa: PTH123
import signal

import numpy as np


def load(model, device, workload):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open("file", "wb") as file:
        while True:
            file.write(bytes(1_000_000))


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
