"""Targets say their state, why, and what to install; rates are measured and kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engines import devices


def test_every_device_is_listed_with_a_reason() -> None:
    found = {target.id: target for target in devices.targets()}
    assert list(found) == ["cpu", "cuda", "directml", "mlx", "coreml"]
    assert found["cpu"].state == "ready"
    assert all(target.reason for target in found.values())
    assert all(target.state != "ready" for name, target in found.items() if name != "cpu")


def test_looking_for_devices_imports_no_runtime() -> None:
    code = (
        "import sys; from engines.devices import targets; targets();"
        "print([name for name in ('torch', 'openvino', 'onnxruntime', 'mlx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_rates_are_measured_kept_and_only_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path))
    devices._measured_here.cache_clear()
    rate = devices.measure_peak("fp32")
    assert 1e8 < rate < 1e15
    assert devices.measure_bandwidth() > 1e7
    cpu = devices.targets()[0]
    assert cpu.gflops == pytest.approx(rate / 1e9, abs=0.1)
    devices._keep({"flops": {"fp32": 1.0}, "bandwidth": 1.0})
    assert devices.measure_peak("fp32") == rate
    devices._keep({"flops": {"fp32": rate * 2}, "bandwidth": 1.0})
    assert devices.measure_peak("fp32") == rate * 2
    devices._measured_here.cache_clear()
