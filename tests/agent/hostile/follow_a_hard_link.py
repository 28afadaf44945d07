"""Makes a hard link to a key in its own folder and reads it through that."""

# mypy: ignore-errors
import os
from pathlib import Path

import numpy as np


def load(model, device, workload):
    os.link("@KEY@", "link")
    raise SystemExit("BREACH " + Path("link").read_text())


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
