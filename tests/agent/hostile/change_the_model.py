"""Changes the model's weights."""

# mypy: ignore-errors
from pathlib import Path

import numpy as np


def load(model, device, workload):
    with Path("@MODEL@/unet/config.json").open("r+b") as file:
        file.write(b"x")
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
