"""What this machine can run, what it can only build for, and why; and how fast its CPU is.

`targets` asks every engine that serves a device, which look for packages and
drivers without importing or starting them.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from engines.backends import backend
from engines.backends.serves import SERVES
from engines.paths import cache_folder, digest, locked, read_json, write_json
from engines.plan import Precision

if TYPE_CHECKING:
    from engines.backends.base import Availability, Backend

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


NAMES: Final[Mapping[str, str]] = {
    "cuda": "NVIDIA GPU",
    "intel-gpu": "Intel GPU",
    "intel-npu": "Intel NPU",
    "directml": "Any DirectX 12 GPU",
    "windowsml": "Windows ML",
    "mps": "Apple GPU (torch)",
    "mlx": "Apple GPU (MLX)",
    "coreml": "Apple Neural Engine (Core ML)",
}
FIRST: Final[Mapping[str, str]] = {"cpu": "openvino", "cuda": "tensorrt"}
"""Engine named for a device where several serve it and it is ready; else the first one that can be used."""


def targets() -> list[TargetInfo]:
    """Every device the Studio knows of, in the order of the Device step; under two seconds."""
    return [_target(device) for device in SERVES]


def _target(device: str) -> TargetInfo:
    """The best that any engine of a device can do here, with its reason."""
    found = [(backend(name), backend(name).probe(device)) for name in SERVES[device]]
    for state in ("ready", "build_only"):
        able = [(engine, one) for engine, one in found if one.state == state]
        if able:
            best = next((pair for pair in able if pair[0].name == FIRST.get(device)), able[0])
            return _described(device, best[0].title, state, _reason(device, able, best[1]), "")
    best = next((pair for pair in found if pair[0].name == FIRST.get(device)), found[0])
    # A missing device is said before a missing package: installing the package would not help.
    absent = best[0].absent(device)
    install = next((one.install for _, one in found if one.install), "") if not absent else best[1].install
    reason = f"{absent}; {best[1].reason}" if absent and best[1].reason != absent else best[1].reason
    return _described(device, best[0].title, "missing", reason, install)


def _reason(device: str, able: Sequence[tuple[Backend, Availability]], best: Availability) -> str:
    if best.state == "build_only":
        return best.reason
    engines = ", ".join(one.reason for _, one in able)
    return f"{engines} on {cores()} cores" if device == "cpu" else engines


def _described(device: str, engine: str, state: State, reason: str, install: str) -> TargetInfo:
    name = processor_name() if device == "cpu" else NAMES[device]
    if device != "cpu":
        return TargetInfo(device, name, engine, state, reason, install)
    known = read_json(_rates_path()) or {}
    rates = known.get("flops", {})
    return TargetInfo(
        device, name, engine, state, reason, install,
        gflops=round(rates["fp32"] / 1e9, 1) if "fp32" in rates else None,
        gbytes=round(known["bandwidth"] / 1e9, 1) if "bandwidth" in known else None,
    )  # fmt: skip


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _installed(package: str) -> bool:
    return find_spec(package) is not None


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
