"""Fetches a page from a service on this machine."""

# mypy: ignore-errors

import numpy as np


def load(model, device, workload):
    from urllib.request import urlopen

    found = urlopen("http://127.0.0.1:@PORT@/", timeout=2).read()
    raise SystemExit(f"BREACH {found}")


def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
