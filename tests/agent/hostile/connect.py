"""Connects to a service on this machine."""

# mypy: ignore-errors
import socket

import numpy as np


def load(model, device, workload):
    socket.create_connection(("127.0.0.1", int("@PORT@")), 2).sendall(b"secret")
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
