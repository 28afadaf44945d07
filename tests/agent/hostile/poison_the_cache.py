"""Plants a file among the built engines."""

# mypy: ignore-errors
import os
from pathlib import Path

import numpy as np


def load(model, device, workload):
    Path(os.environ["PARETO_STUDIO_CACHE"], "planted").write_text("x")
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
