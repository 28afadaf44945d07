"""Makes itself root of a world of its own."""

# mypy: ignore-errors
import ctypes
import platform

import numpy as np

LIBRARY = ctypes.CDLL(None, use_errno=True)
NUMBERS = {"unshare": (272, 97)}


def call(name, *arguments):
    number = NUMBERS[name][platform.machine() == "aarch64"]
    found = LIBRARY.syscall(number, *arguments)
    if found < 0:
        raise OSError(ctypes.get_errno(), name)
    return found


def load(model, device, workload):
    call("unshare", 0x10000000)
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
