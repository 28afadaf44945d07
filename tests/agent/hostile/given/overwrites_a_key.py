"""Writes over a key through a module of a module."""

# mypy: ignore-errors
import pathlib

import numpy as np

from engines.techniques import PromptCache

RECIPE = (PromptCache(),)


def load(model, device, workload):
    system = vars(pathlib)["os"]
    system.write(system.open("@KEY@", system.O_WRONLY), b"mine")
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 64, 64, 3), np.uint8)
