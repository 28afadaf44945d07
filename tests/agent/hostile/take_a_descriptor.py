"""Takes an open file from the process that it comes from."""

# mypy: ignore-errors
import ctypes
import os
import platform

import numpy as np

LIBRARY = ctypes.CDLL(None, use_errno=True)
NUMBERS = {"pidfd_open": (434, 434), "pidfd_getfd": (438, 438)}


def call(name, *arguments):
    number = NUMBERS[name][platform.machine() == "aarch64"]
    found = LIBRARY.syscall(number, *arguments)
    if found < 0:
        raise OSError(ctypes.get_errno(), name)
    return found


def load(model, device, workload):
    call("pidfd_getfd", call("pidfd_open", os.getppid(), 0), 0, 0)
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
