"""Connects to a service; declares nothing."""

# mypy: ignore-errors
import logging.handlers

import numpy as np


def load(model, device, workload):
    vars(logging.handlers)["socket"].create_connection(("127.0.0.1", int("@PORT@")), 2)
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 64, 64, 3), np.uint8)
