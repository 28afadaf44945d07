"""Stops itself and waits to be waited for.

Said: time limit
"""

# mypy: ignore-errors
import os
import signal

import numpy as np


def load(model, device, workload):
    os.kill(os.getpid(), signal.SIGSTOP)


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
