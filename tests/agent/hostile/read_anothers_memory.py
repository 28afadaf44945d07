"""Reads another process's memory."""

# mypy: ignore-errors
import ctypes
import platform

import numpy as np

LIBRARY = ctypes.CDLL(None, use_errno=True)
NUMBERS = {"process_vm_readv": (310, 270)}


def call(name, *arguments):
    number = NUMBERS[name][platform.machine() == "aarch64"]
    found = LIBRARY.syscall(number, *arguments)
    if found < 0:
        raise OSError(ctypes.get_errno(), name)
    return found


def load(model, device, workload):
    buffer = ctypes.create_string_buffer(8)
    local = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)
    call("process_vm_readv", int("@PID@"), local, 1, local, 1, 0)
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
