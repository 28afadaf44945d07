"""Plants a module in the program."""

# mypy: ignore-errors
from pathlib import Path

import numpy as np


def load(model, device, workload):
    import engines.harness

    Path(engines.harness.__file__).with_name("planted.py").write_text("x")
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
