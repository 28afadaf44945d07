"""What this machine can run, what it can only build for, and why; and how fast its CPU is.

`targets` looks for packages and drivers without importing or starting them.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

from engines.paths import cache_folder, digest, locked, read_json, write_json
from engines.plan import Precision

State = Literal["ready", "build_only", "missing"]


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """One device with the engine that serves it; mirrors `studio.record.events.TargetState`."""

    id: str
    name: str
    engine: str
    state: State
    reason: str
    install: str = ""
    gflops: float | None = None
    """Best measured rate in fp32, once `measure_peak` has run here."""
    gbytes: float | None = None
    """Memory bandwidth in GB/s, likewise."""


_ENGINES: Final = (("OpenVINO", "openvino"), ("ONNX Runtime", "onnxruntime"), ("torch", "torch"))


def targets() -> list[TargetInfo]:
    """Every device the Studio knows of, in the order of the Device step; under two seconds."""
    return [_cpu(), _cuda(), _directml(), _mlx(), _coreml()]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _installed(package: str) -> bool:
    return find_spec(package) is not None


def _cpu() -> TargetInfo:
    name = processor_name()
    found = {title: version for title, package in _ENGINES if (version := _version(package))}
    if "torch" not in found:
        return TargetInfo(
            "cpu", name, "torch", "missing", "torch is not installed; every engine is built from it",
            "pip install torch",
        )  # fmt: skip
    known = read_json(_rates_path()) or {}
    engines = ", ".join(f"{title} {version}" for title, version in found.items())
    rates = known.get("flops", {})
    return TargetInfo(
        "cpu", name, "OpenVINO" if "OpenVINO" in found else "torch", "ready", f"{engines} on {cores()} cores",
        gflops=round(rates["fp32"] / 1e9, 1) if "fp32" in rates else None,
        gbytes=round(known["bandwidth"] / 1e9, 1) if "bandwidth" in known else None,
    )  # fmt: skip


def _cuda() -> TargetInfo:
    name, engine = "NVIDIA GPU", "TensorRT-RTX"
    tensorrt = _version("tensorrt-rtx") or _version("tensorrt_rtx")
    if sys.platform == "darwin":
        return TargetInfo("cuda", name, engine, "missing", "macOS has no NVIDIA driver")
    driver = shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia/version").exists()
    if driver:
        return TargetInfo(
            "cuda",
            name,
            engine,
            "missing",
            "an NVIDIA driver is here, but this version has no engine for it yet",
        )
    if tensorrt:
        return TargetInfo(
            "cuda", name, engine, "missing",
            f"TensorRT-RTX {tensorrt} could build without a GPU, but this version has no engine for it yet",
        )  # fmt: skip
    return TargetInfo(
        "cuda", name, engine, "missing", "there is no NVIDIA driver (nvidia-smi was not found)",
        "install the NVIDIA driver, then pip install pareto-studio[tensorrt]",
    )  # fmt: skip


def _directml() -> TargetInfo:
    name, engine = "Any DirectX 12 GPU", "ONNX Runtime DirectML"
    if sys.platform != "win32":
        return TargetInfo("directml", name, engine, "missing", "DirectML exists on Windows only")
    if _version("onnxruntime-directml") is None:
        return TargetInfo(
            "directml", name, engine, "missing", "onnxruntime-directml is not installed",
            "pip install pareto-studio[directml]",
        )  # fmt: skip
    return TargetInfo(
        "directml", name, engine, "missing", "the runtime is here, but this version has no engine for it yet"
    )


def _mlx() -> TargetInfo:
    name, engine = "Apple GPU (MLX)", "MLX"
    if not _installed("mlx"):
        where = "on a Mac with Apple silicon" if sys.platform != "darwin" else "here"
        return TargetInfo(
            "mlx", name, engine, "missing", f"mlx is not installed; it runs at full speed {where}",
            "pip install pareto-studio[mlx]",
        )  # fmt: skip
    return TargetInfo(
        "mlx", name, engine, "missing", "mlx is here, but this version has no engine for it yet"
    )


def _coreml() -> TargetInfo:
    name, engine = "Apple Neural Engine (Core ML)", "Core ML"
    if not _installed("coremltools"):
        return TargetInfo(
            "coreml",
            name,
            engine,
            "missing",
            "coremltools is not installed",
            "pip install pareto-studio[coreml]",
        )
    return TargetInfo(
        "coreml", name, engine, "missing", "coremltools is here, but this version has no engine for it yet"
    )


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@lru_cache(maxsize=1)
def processor_name() -> str:
    """As the machine calls it, for example `Intel(R) Xeon(R) Processor`."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "CPU"


# -- how fast the CPU is ---------------------------------------------------------------------------

REPEATS: Final = 5
MEASUREMENTS: Final = 3
"""Processes that measure; the best rates of all are kept."""
_SIZES: Final = ((256, 256, 16), (64, 64, 64))
"""Convolutions: channels in, out, side; a large and a small map."""
_MATRIX: Final = 1024


def _rates_path() -> Path:
    kind = digest(1, processor_name(), cores(), _version("openvino"))
    return cache_folder("machine") / f"{kind}.json"


def measure_peak(precision: Precision = "fp32") -> float:
    """The best nominal rate in FLOP/s that convolutions and matrix products reach here.

    Measured through OpenVINO (torch where it is absent), some seconds the
    first time, then remembered.  Only ever raised: a rate measured beside
    other work is too low, and a floor above the truth would accuse the innocent.
    """
    return float(_rates()["flops"].get(precision) or _rates()["flops"]["fp32"])


def measure_bandwidth() -> float:
    """Memory bandwidth in bytes/s: a copy of arrays too large for the caches."""
    return float(_rates()["bandwidth"])


def remeasure() -> None:
    """Measure again and keep the higher rates."""
    _keep(_measure())


@lru_cache(maxsize=1)
def _measured_here() -> dict[str, Any]:
    return _measure()


def _rates() -> dict[str, Any]:
    known = read_json(_rates_path())
    if isinstance(known, dict) and known.get("measurements", 0) >= MEASUREMENTS:
        return known
    if _measured_here.cache_info().currsize and isinstance(known, dict):
        return known
    return _keep(_measured_here())


def _keep(new: dict[str, Any]) -> dict[str, Any]:
    path = _rates_path()
    with locked(path):
        old = read_json(path) or {"flops": {}, "bandwidth": 0.0, "measurements": 0}
        flops = {key: max(value, old["flops"].get(key, 0.0)) for key, value in new["flops"].items()}
        best = {
            "flops": old["flops"] | flops,
            "bandwidth": max(new["bandwidth"], old["bandwidth"]),
            "measurements": old["measurements"] + 1,
        }
        write_json(path, best)
    return best


def _measure() -> dict[str, Any]:
    measure = _by_openvino if _installed("openvino") else _by_torch
    return {"flops": measure(), "bandwidth": _bandwidth()}


def _best(run: Callable[[], object], threads: int = 1) -> float:
    """Seconds of the quickest of some runs, after one that does not count.

    Where other work has the cores, the CPU time spent, spread over `threads`,
    is what the run would take alone; the smaller of the two counts.
    """
    run()
    seconds = []
    for _ in range(REPEATS):
        start, used = time.perf_counter(), time.process_time()
        run()
        seconds += [time.perf_counter() - start, max((time.process_time() - used) / threads, 1e-6)]
    return min(seconds)


def _bandwidth() -> float:
    import numpy as np

    source = np.ones(2**25, dtype=np.float32)
    target = np.empty_like(source)
    return 2 * source.nbytes / _best(lambda: np.copyto(target, source))


def _by_torch() -> dict[str, float]:
    import torch

    matrix = torch.randn(_MATRIX, _MATRIX)
    return {"fp32": 2 * _MATRIX**3 / _best(lambda: matrix @ matrix, cores())}


def _by_openvino() -> dict[str, float]:
    import openvino

    core = openvino.Core()
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    hints = {"fp32": "f32"} | ({"bf16": "bf16", "int8": "bf16"} if "BF16" in able else {"int8": "f32"})
    found: dict[str, float] = {}
    for precision, hint in hints.items():
        for model, work, shape in _probes(quantised=precision == "int8"):
            options = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
            found[precision] = max(found.get(precision, 0.0), work / _run(core, model, options, shape))
    return found


def _run(core: Any, model: Any, options: dict[str, str], shape: tuple[int, ...]) -> float:
    import numpy as np

    request = core.compile_model(model, "CPU", options).create_infer_request()
    inputs = [np.random.default_rng(0).standard_normal(shape, dtype=np.float32)]
    return _best(lambda: request.infer(inputs, share_inputs=True), cores())


_DEPTH: Final = 8
"""Layers in a row, so that what a call itself costs does not count."""


def _probes(*, quantised: bool) -> list[tuple[Any, float, tuple[int, ...]]]:
    """Models with the FLOPs that they nominally do: chains of 3x3 convolutions, and of matrix products."""
    import numpy as np
    from openvino import Model, Type
    from openvino import opset13 as ops

    def levels(node: Any, low: float, high: float, count: int) -> Any:
        edges = [np.array(edge, dtype=np.float32) for edge in (low, high)]
        return ops.fake_quantize(node, *edges, *edges, count) if quantised else node

    def weights(*shape: int) -> Any:
        scale = np.float32(1 / np.sqrt(np.prod(shape[1:])))
        values = np.random.default_rng(1).standard_normal(shape, dtype=np.float32) * scale
        return levels(ops.constant(values), -1.27, 1.27, 255)

    found: list[tuple[Any, float, tuple[int, ...]]] = []
    for channels, out, side in _SIZES:
        node = given = ops.parameter([2, channels, side, side], Type.f32)
        for _ in range(_DEPTH):
            node = ops.convolution(
                levels(node, -4.0, 4.0, 256), weights(out, channels, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1]
            )
        work = 2.0 * 2 * channels * out * 9 * side * side * _DEPTH
        found.append((Model([node], [given], "convolution"), work, (2, channels, side, side)))
    node = given = ops.parameter([_MATRIX, _MATRIX], Type.f32)
    for _ in range(_DEPTH):
        node = ops.matmul(levels(node, -4.0, 4.0, 256), weights(_MATRIX, _MATRIX), False, True)
    found.append((Model([node], [given], "product"), 2.0 * _MATRIX**3 * _DEPTH, (_MATRIX, _MATRIX)))
    return found
