"""Reads disks under the file system."""

# mypy: ignore-errors
# ruff: noqa: PTH110, PTH123, SIM115
import os
from pathlib import Path

import numpy as np


def load(model, device, workload):
    for path in Path("/dev").glob("[svx]d[a-z]"):
        found = path.open("rb").read(16)
        raise SystemExit(f"BREACH {found!r}")
    for name in ("/dev/vda", "/dev/sda", "/dev/nvme0n1"):
        if os.path.exists(name):
            raise SystemExit(f"BREACH {open(name, 'rb').read(16)!r}")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
