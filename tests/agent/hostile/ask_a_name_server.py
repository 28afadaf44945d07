"""Asks for an address by name."""

# mypy: ignore-errors
import socket

import numpy as np


def load(model, device, workload):
    found = socket.getaddrinfo("example.com", 80)
    raise SystemExit(f"BREACH {found}")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
