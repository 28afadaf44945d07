"""Looks for keys in its own environment."""

# mypy: ignore-errors
import os

import numpy as np


def load(model, device, workload):
    found = [name for name in os.environ if "KEY" in name or "TOKEN" in name or "CANARY" in os.environ[name]]
    if found:
        raise SystemExit(f"BREACH {found}")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
