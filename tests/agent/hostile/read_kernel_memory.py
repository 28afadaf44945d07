"""Reads the memory of the kernel."""

# mypy: ignore-errors
# ruff: noqa: PTH123, SIM115

import numpy as np


def load(model, device, workload):
    for name in ("/dev/mem", "/dev/kmem", "/proc/kcore", "/dev/kmsg", "/proc/kallsyms"):
        try:
            found = open(name, "rb").read(64)
        except OSError:
            continue
        raise SystemExit(f"BREACH {name} {found!r}")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
