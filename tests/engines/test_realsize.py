"""The command that tries models at their real size, on a small one."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.models import realsize
from tests.engines.small_model import write_small_model


@pytest.mark.slow
def test_a_component_is_captured_and_built_in_a_process_that_tells_its_peak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path / "cache"))
    folder = write_small_model(tmp_path / "model")
    for step in ("capture", "openvino", "openvino:int8"):
        found = realsize.apart(folder, "denoiser", step)
        assert found["step"] == step
        assert 0.1 < found["peak"] < 8, found
        assert found["bytes"] > 10_000
        assert not found.get("fallbacks"), found
    assert "error" in realsize.apart(folder, "denoiser", "no-such-engine")
