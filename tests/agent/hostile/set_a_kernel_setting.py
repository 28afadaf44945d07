"""Changes a setting of the kernel."""

# mypy: ignore-errors
# ruff: noqa: PTH123

import numpy as np


def load(model, device, workload):
    for name in ("kernel/core_pattern", "vm/overcommit_memory", "kernel/hostname"):
        try:
            with open(f"/proc/sys/{name}", "r+") as file:
                file.write(file.read())
        except OSError:
            continue
        raise SystemExit(f"BREACH {name}")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
