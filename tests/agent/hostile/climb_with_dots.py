"""Climbs out of its folder with dots."""

# mypy: ignore-errors
# ruff: noqa: PTH109, PTH118
import os
from pathlib import Path

import numpy as np


def load(model, device, workload):
    path = os.path.join(os.getcwd(), *[".."] * 20, "@KEY@".lstrip("/"))
    raise SystemExit("BREACH " + Path(path).read_text())


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
