"""Makes a control group of its own."""

# mypy: ignore-errors
# ruff: noqa: PTH102
import os

import numpy as np


def load(model, device, workload):
    for folder in ("/sys/fs/cgroup/mine", "/sys/fs/cgroup/pids/mine", "/sys/fs/cgroup/unified/mine"):
        try:
            os.mkdir(folder)
        except OSError:
            continue
        raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
