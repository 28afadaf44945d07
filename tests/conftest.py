"""Tests that need a GPU select themselves where one is."""

from __future__ import annotations

import pytest

from engines import drivers

USUAL = "not slow and not gpu"


def pytest_configure(config: pytest.Config) -> None:
    """Take the mark `gpu` out of the usual selection where an NVIDIA driver and torch's CUDA build are."""
    if config.option.markexpr == USUAL and not drivers.torch_on("cuda"):
        config.option.markexpr = "not slow"
