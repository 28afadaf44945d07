"""Targets say their state, why, and what to install; rates are measured and kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from engines import devices, drivers, installing
from engines.backends import backend, base, tensor_rt_names
from engines.backends.serves import SERVES
from engines.measure import rates
from studio.record.described import TargetState

RUNTIMES = ("torch", "openvino", "onnxruntime", "onnx", "mlx", "coremltools", "tensorrt_rtx", "transformers")


def test_every_device_is_listed_with_a_reason() -> None:
    found = {target.id: target for target in devices.targets()}
    assert list(found) == list(SERVES)
    assert found["cpu"].state == "ready"
    assert all(target.reason and target.name and target.engine for target in found.values())


@pytest.mark.skipif(sys.platform != "linux", reason="what Linux can do")
def test_linux_only_builds_for_windows_and_apple() -> None:
    found = {target.id: target for target in devices.targets()}
    for name, why in (("directml", "Windows only"), ("coreml", "macOS and iOS only"), ("mlx", "Apple")):
        assert found[name].state in ("build_only", "missing"), name
        if found[name].state == "build_only":
            assert "can build for it, not run on it" in found[name].reason
        assert why in found[name].reason
    assert found["mps"].state == "missing"


def test_without_its_package_a_device_is_missing_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from engines.backends import backend

    monkeypatch.setattr(type(backend("coreml")), "packages", ("no_such_package",))
    found = {target.id: target for target in devices.targets()}["coreml"]
    assert found.state == "missing"
    assert "no_such_package is not installed" in found.reason
    assert found.install.endswith(" 'coremltools>=9'")


def test_a_present_driver_makes_cuda_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "nvidia", str)
    monkeypatch.setattr(drivers, "torch_built_for", lambda: "cuda 13.2")
    found = {target.id: target for target in devices.targets()}["cuda"]
    assert found.state == "ready"
    monkeypatch.setattr(drivers, "torch_built_for", lambda: "cpu")
    assert "install its CUDA build" in drivers.torch_on("cuda")


def test_without_a_driver_cuda_is_not_ready_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "there is no NVIDIA driver (nvidia-smi was not found)"
    monkeypatch.setattr(drivers, "nvidia", lambda: reason)
    found = {target.id: target for target in devices.targets()}["cuda"]
    assert found.state != "ready"
    assert reason in found.reason


def engines_of(device: str) -> dict[str, devices.EngineInfo]:
    found = {target.id: target for target in devices.targets()}[device]
    return {one.title: one for one in found.engines}


def test_every_engine_of_a_device_says_its_own_state() -> None:
    for target in devices.targets():
        assert [one.title for one in target.engines] == [backend(name).title for name in SERVES[target.id]]
        assert all(one.reason for one in target.engines)
        best = next((state for state in ("ready", "build_only") if state in states(target)), "missing")
        assert target.state == best


def states(target: devices.TargetInfo) -> set[str]:
    return {one.state for one in target.engines}


def test_a_ready_cpu_says_which_engine_is_missing_and_what_adds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(backend("openvino")), "packages", ("no_such_package",))
    assert devices.targets()[0].state == "ready"
    found = engines_of("cpu")["OpenVINO"]
    assert (found.state, found.reason) == ("missing", "no_such_package is not installed")
    assert found.install.endswith(" no-such-package")


def test_a_card_says_what_would_add_an_engine_or_a_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "nvidia", str)
    monkeypatch.setattr(drivers, "nvidia_cards", lambda: (drivers.Card("NVIDIA H200", (9, 0)),))
    monkeypatch.setattr(drivers, "torch_built_for", lambda: "cuda 13.2")
    monkeypatch.setattr(base, "find_spec", lambda name: None if name == "torchao" else find_spec(name))
    found = engines_of("cuda")
    eager, compiled = found["torch eager"], found["torch.compile"]
    assert (eager.state, compiled.state) == ("ready", "ready")
    assert eager.reason.endswith(", without weights in 8 bits: torchao is not installed")
    assert compiled.reason.endswith(", without fp8 and int8: torchao is not installed")
    assert eager.install == compiled.install
    assert eager.install.endswith(" torchao")
    runtime = found["ONNX Runtime"]
    assert runtime.state == "build_only"
    assert runtime.install.endswith(" onnxruntime-gpu")
    assert " uninstall " in runtime.install
    server = next(one for title, one in found.items() if title.startswith("TensorRT"))
    assert server.state != "ready"
    assert server.install.split()[-1].strip("'").startswith("tensorrt>=")


def test_torch_for_cpus_beside_a_card_is_exchanged_by_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "nvidia", str)
    monkeypatch.setattr(drivers, "torch_built_for", lambda: "cpu")
    monkeypatch.setattr(installing, "has_pip", lambda: False)
    found = engines_of("cuda")["torch eager"]
    assert (found.state, "install its CUDA build" in found.reason) == ("missing", True)
    assert " --torch-backend=auto --reinstall-package=torch " in found.install
    monkeypatch.setattr(installing, "has_pip", lambda: True)
    assert engines_of("cuda")["torch eager"].install == ""


def test_no_wheel_is_advised_where_the_device_itself_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "nvidia", lambda: "there is no NVIDIA driver")
    monkeypatch.setattr(drivers, "directx", lambda: "there is no display adapter")
    for engine in (*engines_of("cuda").values(), *engines_of("directml").values()):
        assert engine.state == "ready" or "there is no" in engine.reason
        assert engine.install == ""


def test_a_row_names_engines_that_lack_something_and_says_nothing_twice() -> None:
    def engine(title: str, reason: str, install: str = "", state: str = "missing") -> dict[str, str]:
        return {"title": title, "state": state, "reason": reason, "install": install}

    row = {"id": "cuda", "name": "Card", "engine": "A", "state": "build_only", "reason": "A 1 only builds"}
    given = [
        engine("A", "A 1 only builds", state="build_only"),
        engine("B", "no driver"), engine("C", "no driver"),
        engine("D", "D 2", state="ready"), engine("E", "E 3, without int8", "pip install e", state="ready"),
    ]  # fmt: skip
    found = TargetState.model_validate({**row, "engines": given}).lacking()
    assert [one.words for one in found] == ["B, C: no driver", "E 3, without int8"]
    assert [one.install for one in found] == ["", "pip install e"]


def test_two_wheels_of_one_module_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    from engines.backends import backend

    two = ["onnxruntime", "onnxruntime-directml"]
    monkeypatch.setattr(drivers, "installed", lambda *names: [one for one in two if one in names])
    found = backend("onnxruntime").probe("directml")
    assert found.state == "missing"
    assert "onnxruntime and onnxruntime-directml are both installed" in found.reason
    removed, _, installed = found.install.partition(" && ")
    assert removed.endswith(" onnxruntime onnxruntime-directml")
    assert installed.endswith(" onnxruntime-directml")


def test_torch_says_what_it_is_built_for_without_being_imported() -> None:
    import torch

    kind = drivers.torch_built_for()
    assert kind.startswith("cuda") == bool(torch.version.cuda)


def test_looking_for_devices_imports_no_runtime_and_is_quick() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); from engines.devices import targets; targets();"
        f"print([name for name in {RUNTIMES!r} if name in sys.modules], time.perf_counter() - start < 2)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True"


def test_rates_are_measured_kept_and_only_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path))
    monkeypatch.setattr(rates, "_measured_here", {})
    rate = rates.measure_peak("fp32")
    assert rate is not None
    assert 1e8 < rate < 1e15
    assert (rates.measure_bandwidth() or 0.0) > 1e7
    cpu = devices.targets()[0]
    assert cpu.gflops == pytest.approx(rate / 1e9, abs=0.1)
    rates._keep("cpu", {"flops": {"fp32": 1.0}, "bandwidth": 1.0})
    assert rates.measure_peak("fp32") == rate
    rates._keep("cpu", {"flops": {"fp32": rate * 2}, "bandwidth": 1.0})
    assert rates.measure_peak("fp32") == rate * 2


def test_a_card_has_rates_of_its_own_and_what_is_not_measured_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path))
    monkeypatch.setattr(rates, "_measured_here", {})
    measured = {"flops": {"fp32": 4e14, "fp16": 8e14}, "bandwidth": 3e12}
    monkeypatch.setattr(rates, "_on_card", lambda: measured)
    assert rates.measure_peak("fp16", "cuda") == rates.measure_peak("w4", "cuda") == 8e14
    assert rates.measure_peak("bf16", "cuda") == 4e14
    assert rates.measure_peak("fp32", "directml") is None
    assert rates.known("cpu") == {}


def test_a_card_that_computes_nothing_has_no_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(rates, "_measured_here", {})
    assert rates.measure_peak("fp16", "cuda") is None


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A driver's program that prints what the test writes into it."""
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    drivers.nvidia_cards.cache_clear()
    yield program
    drivers.nvidia_cards.cache_clear()


def answering(program: Path, text: str) -> None:
    program.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    program.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_tensorrt_rtx_says_which_cards_it_serves(smi: Path) -> None:
    answering(smi, "echo 'NVIDIA H100 80GB HBM3, 9.0'")
    assert drivers.nvidia_cards() == (drivers.Card("NVIDIA H100 80GB HBM3", (9, 0)),)
    assert "compute capability 9.0) is a server's" in drivers.tensorrt_rtx()
    drivers.nvidia_cards.cache_clear()
    answering(smi, "echo 'NVIDIA GeForce RTX 4090, 8.9'")
    assert drivers.tensorrt_rtx() == ""


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
@pytest.mark.parametrize(
    ("card", "installed", "module", "targets"),
    [
        ("NVIDIA H200, 9.0", ("tensorrt_rtx", "tensorrt"), "tensorrt", ()),
        ("NVIDIA H200, 9.0", ("tensorrt_rtx",), "tensorrt_rtx", ()),
        ("NVIDIA H200, 9.0", (), "tensorrt", ()),
        ("NVIDIA GeForce RTX 4090, 8.9", ("tensorrt_rtx", "tensorrt"), "tensorrt_rtx", ()),
        ("NVIDIA GeForce RTX 4090, 8.9", ("tensorrt",), "tensorrt", ()),
        ("NVIDIA GeForce RTX 2080, 7.5", ("tensorrt_rtx",), "tensorrt_rtx", ("SM75",)),
        ("NVIDIA GB10, 12.1", ("tensorrt_rtx",), "tensorrt_rtx", ("SM121",)),
        ("", ("tensorrt_rtx", "tensorrt"), "tensorrt_rtx", ()),
    ],
)
def test_the_card_decides_which_tensorrt_is_used_and_what_it_builds_for(
    smi: Path,
    monkeypatch: pytest.MonkeyPatch,
    card: str,
    installed: tuple[str, ...],
    module: str,
    targets: tuple[str, ...],
) -> None:
    answering(smi, f"echo '{card}'")
    monkeypatch.setattr(tensor_rt_names, "find_spec", lambda name: name if name in installed else None)
    assert tensor_rt_names.chosen() == module
    assert tensor_rt_names.targets() == (*targets, *tensor_rt_names.USUAL)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx not installed")
@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="what is said where it is missing")
def test_beside_a_servers_card_the_distribution_that_serves_it_is_named(smi: Path) -> None:
    answering(smi, "echo 'NVIDIA H200, 9.0'")
    found = backend("tensorrt").probe("cuda")
    assert found.state == "build_only"
    assert "the tensorrt package serves it" in found.reason
    assert " pip install " in found.install
    assert found.install.split()[-1].strip("'").startswith("tensorrt")
    assert "rtx" not in found.install.split()[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_a_driver_that_fails_names_no_card(smi: Path) -> None:
    answering(smi, "echo broken; exit 9")
    assert drivers.nvidia_cards() == ()
    drivers.nvidia_cards.cache_clear()
    answering(smi, "echo 'NVIDIA-SMI has failed'")
    assert drivers.nvidia_cards() == ()


@pytest.mark.gpu
def test_a_card_computes_halves_faster_than_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path))
    monkeypatch.setattr(rates, "_measured_here", {})
    half, full = rates.measure_peak("fp16", "cuda"), rates.measure_peak("fp32", "cuda")
    assert half is not None
    assert full is not None
    assert half > full > (rates.measure_peak("fp32") or 0.0)
    assert (rates.measure_bandwidth("cuda") or 0.0) > (rates.measure_bandwidth() or 0.0)
