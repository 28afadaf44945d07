"""Fills memory that belongs to no process."""

# mypy: ignore-errors
# ruff: noqa: PTH123

import numpy as np


def load(model, device, workload):
    for index in range(1000):
        with open(f"/dev/shm/planted{index}", "wb") as file:
            file.write(bytes(4_000_000))
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
