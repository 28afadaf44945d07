"""Sends a datagram to a service on this machine."""

# mypy: ignore-errors
import socket

import numpy as np


def load(model, device, workload):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"secret", ("127.0.0.1", int("@UDP@")))
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
