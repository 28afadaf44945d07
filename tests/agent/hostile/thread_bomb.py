"""Starts threads without end."""

# mypy: ignore-errors
import threading
import time

import numpy as np


def load(model, device, workload):
    while True:
        try:
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        except RuntimeError:
            time.sleep(0.05)


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
