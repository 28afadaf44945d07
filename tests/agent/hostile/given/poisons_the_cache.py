"""Writes into the cache that engines are taken from; declares nothing."""

# mypy: ignore-errors

import numpy as np


def load(model, device, workload):
    from engines.paths import cache_folder

    (cache_folder() / "planted").write_text("mine")
    raise SystemExit("BREACH")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 64, 64, 3), np.uint8)
