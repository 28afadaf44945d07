"""Makes a key readable for everybody."""

# mypy: ignore-errors
from pathlib import Path

import numpy as np


def load(model, device, workload):
    Path("@KEY@").chmod(0o777)
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
