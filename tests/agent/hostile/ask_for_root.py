"""Runs programs that belong to root."""

# mypy: ignore-errors
import subprocess

import numpy as np


def load(model, device, workload):
    for command in (["su", "-c", "id"], ["sudo", "-n", "id"], ["mount"], ["passwd", "-S"]):
        try:
            done = subprocess.run(command, capture_output=True, timeout=5, check=False)
        except OSError:
            continue
        if b"uid=0" in done.stdout:
            raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
