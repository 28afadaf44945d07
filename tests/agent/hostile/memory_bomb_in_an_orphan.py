"""Takes memory without end in a process that has left its family."""

# mypy: ignore-errors
import os
import time

import numpy as np


def load(model, device, workload):
    if not os.fork():
        os.setsid()
        if os.fork():
            os._exit(0)
        kept = []
        while True:
            kept.append(np.ones(4_000_000))
    time.sleep(30)


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
