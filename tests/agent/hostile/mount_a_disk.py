"""Mounts a file system over a folder."""

# mypy: ignore-errors
# ruff: noqa: PTH109
import ctypes
import os
import platform

import numpy as np

LIBRARY = ctypes.CDLL(None, use_errno=True)
NUMBERS = {"mount": (165, 40)}


def call(name, *arguments):
    number = NUMBERS[name][platform.machine() == "aarch64"]
    found = LIBRARY.syscall(number, *arguments)
    if found < 0:
        raise OSError(ctypes.get_errno(), name)
    return found


def load(model, device, workload):
    call("mount", b"none", os.getcwd().encode(), b"tmpfs", 0, None)
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
