"""Waits for connections."""

# mypy: ignore-errors
import socket

import numpy as np


def load(model, device, workload):
    server = socket.create_server(("127.0.0.1", 0))
    raise SystemExit(f"BREACH {server.getsockname()}")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
