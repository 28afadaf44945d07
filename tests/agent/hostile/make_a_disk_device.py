"""Makes a device file for the first disk and reads it."""

# mypy: ignore-errors
# ruff: noqa: SIM115
import os
from pathlib import Path

import numpy as np


def load(model, device, workload):
    os.mknod("disk", 0o60600, os.makedev(254, 0))
    raise SystemExit(f"BREACH {Path('disk').open('rb').read(16)!r}")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
