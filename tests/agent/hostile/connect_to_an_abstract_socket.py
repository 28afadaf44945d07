"""Connects to a service's nameless socket."""

# mypy: ignore-errors
import socket

import numpy as np


def load(model, device, workload):
    socket.socket(socket.AF_UNIX).connect("\0@ABSTRACT@")
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
