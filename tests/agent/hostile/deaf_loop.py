"""Ignores every signal that can be ignored and never comes back.

Said: time limit
"""

# mypy: ignore-errors
import signal
import time

import numpy as np


def load(model, device, workload):
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(1)


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
