"""Has a shell read the key."""

# mypy: ignore-errors
import subprocess

import numpy as np


def load(model, device, workload):
    done = subprocess.run(["/bin/sh", "-c", "cat @KEY@"], capture_output=True, check=True)
    raise SystemExit(f"BREACH {done.stdout!r}")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
