"""Reads a key in the user's home; declares a recipe."""

# mypy: ignore-errors
from pathlib import Path

import numpy as np

from engines.techniques import PromptCache

RECIPE = (PromptCache(),)


def load(model, device, workload):
    print(Path("@KEY@").read_text())
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 64, 64, 3), np.uint8)
