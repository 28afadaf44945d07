"""Answers and leaves a process behind that hides its family."""

# mypy: ignore-errors
import os
import time

import numpy as np


def load(model, device, workload):
    if not os.fork():
        os.setsid()
        if os.fork():
            os._exit(0)
        time.sleep(600)


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
