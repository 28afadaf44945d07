"""int8 weights for processors leave half their range free, and an engine draws the same on each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.backends import backend, half_range, half_range_cost
from engines.backends.base import Options
from engines.models.small.families import write


@pytest.mark.parametrize(
    ("name", "device", "free"),
    [
        ("onnxruntime", "cpu", True),
        ("openvino", "cpu", True),
        ("openvino", "intel-gpu", False),
        ("tensorrt", "cuda", False),
    ],
)
def test_int8_for_processors_alone_is_of_half_the_range(name: Any, device: str, free: bool) -> None:
    engine = backend(name)
    assert (half_range.FORM in engine.settings(Options("int8", device=device))) is free
    assert half_range.FORM not in engine.settings(Options("fp32", device=device))


@pytest.mark.slow
def test_in_half_the_range_this_processor_and_sums_in_floats_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path / "cache"))
    found = half_range_cost.ranges(str(write("sd15", tmp_path / "sd15")))
    assert len(found) == 8
    for whole, half in zip(found[::2], found[1::2], strict=True):
        assert (whole.half, half.half) == (False, True)
        assert abs(half.here - half.exact) < 1, half
        assert half.exact > whole.exact - 3, (whole, half)
