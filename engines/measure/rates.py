"""How fast this machine's devices are: the best nominal rates that convolutions and matrix products reach.

    python -m engines.measure.rates cuda

A physical floor stands on them (`engines.measure.floor`).  A device that
nothing here measures has no rates, and nothing is held to a floor on it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from engines import drivers
from engines.paths import cache_folder, digest, locked, read_json, write_json
from engines.plan import Precision

Rates = Mapping[str, Any]
"""`flops` by precision in FLOP/s, `bandwidth` in bytes/s, `measurements`: how many processes measured."""

MEASURED: Final = ("cpu", "cuda")
MEASUREMENTS: Final = 3
"""Processes that measure; the best rates of all are kept."""
REPEATS: Final = 5
SECONDS: Final = 300
"""For a card, in a process of its own: a driver that hangs must not take the caller with it."""

_IN_HALVES: Final = ("w8", "w6", "w4")
"""Weights in few bits, arithmetic in fp16."""


def measure_peak(precision: Precision = "fp32", device: str = "cpu") -> float | None:
    """The best nominal rate in FLOP/s that convolutions and matrix products reach on a device.

    Measured some seconds the first time, then remembered; `None` for a device
    that is not measured.  Only ever raised: a rate measured beside other work
    is too low, and a floor above the truth would accuse the innocent.
    """
    rates = _rates(device)
    if rates is None:
        return None
    flops = rates["flops"]
    found = flops.get("fp16" if precision in _IN_HALVES else precision) or flops.get("fp32")
    return None if found is None else float(found)


def measure_bandwidth(device: str = "cpu") -> float | None:
    """Memory bandwidth in bytes/s: a copy of arrays too large for the caches."""
    rates = _rates(device)
    return None if rates is None else float(rates["bandwidth"])


def remeasure(device: str = "cpu") -> None:
    """Measure again and keep the higher rates."""
    if device in MEASURED:
        _keep(device, _measure(device))


def known(device: str) -> Rates:
    """What was measured before; empty where nothing was.  Measures nothing."""
    found = read_json(_path(device)) if device in MEASURED else None
    return found if isinstance(found, dict) else {}


def _path(device: str) -> Path:
    from engines.devices import processor_name
    from engines.package.processors import cores

    if device == "cpu":
        kind = digest(1, processor_name(), cores(), _version("openvino"))
    else:
        kind = digest(1, device, drivers.nvidia_cards(), _version("torch"))
    return cache_folder("machine") / f"{kind}.json"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


_measured_here: Final[dict[str, Rates]] = {}
"""By device, what this process has measured."""


def _rates(device: str) -> Rates | None:
    if device not in MEASURED:
        return None
    found = known(device)
    if found.get("measurements", 0) >= MEASUREMENTS:
        return found
    if found and device in _measured_here:
        return found
    if device not in _measured_here:
        _measured_here[device] = _measure(device)
    return _keep(device, _measured_here[device])


def _keep(device: str, new: Rates) -> Rates:
    path = _path(device)
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


def _measure(device: str) -> dict[str, Any]:
    if device == "cuda":
        return _on_card()
    measure = _by_openvino if find_spec("openvino") is not None else _by_torch
    return {"flops": measure(), "bandwidth": _bandwidth()}


# -- the CPU


_SIZES: Final = ((256, 256, 16), (64, 64, 64))
"""Convolutions: channels in, out, side; a large and a small map."""
_MATRIX: Final = 1024


def _cores() -> int:
    from engines.package.processors import cores

    return cores()


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
    return {"fp32": 2 * _MATRIX**3 / _best(lambda: matrix @ matrix, _cores())}


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
    return _best(lambda: request.infer(inputs, share_inputs=True), _cores())


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


# -- an NVIDIA card


def _on_card() -> dict[str, Any]:
    command = [sys.executable, "-m", "engines.measure.rates", "cuda"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=SECONDS)
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return {"flops": {}, "bandwidth": 0.0}  # a card that does not compute says so where it is used
    return found


_SIDES: Final = (4096, 8192)
_MAPS: Final = ((320, 64, 16), (1280, 16, 32))
"""Convolutions: channels, side, batch."""
_PRODUCTS: Final = {"int8": "_int_mm", "fp8": "_scaled_mm"}
"""Torch has no public names for them; its compiler calls these."""
_COPIED: Final = 2**28
"""Numbers of two bytes."""


def by_cuda() -> dict[str, Any]:
    """Rates of this process's first card, each the best of what torch offers.

    fp32 with TF32, halves with fp16 accumulation where torch lets one ask for
    it: a floor has to hold for whatever an engine may do under that name.
    """
    import torch

    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    if hasattr(torch.backends.cuda.matmul, "allow_fp16_accumulation"):
        torch.backends.cuda.matmul.allow_fp16_accumulation = True
    flops: dict[str, float] = {}

    def tried(precision: str, work: float, run: Callable[[], object]) -> None:
        try:
            flops[precision] = max(flops.get(precision, 0.0), work / _card_seconds(run))
        except (RuntimeError, NotImplementedError, AttributeError):
            return  # this card or this torch has no such product

    for name, dtype in (("fp32", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16)):
        for side in _SIDES:
            matrix = torch.randn(side, side, device="cuda").to(dtype)
            tried(name, 2.0 * side**3, lambda matrix=matrix: matrix @ matrix)  # type: ignore[misc]
        for channels, side, batch in _MAPS:
            layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            layer = layer.to("cuda", dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
            given = torch.randn(batch, channels, side, side, device="cuda").to(dtype)
            given = given.contiguous(memory_format=torch.channels_last)
            work = 2.0 * batch * channels**2 * 9 * side**2
            with torch.inference_mode():
                tried(name, work, lambda layer=layer, given=given: layer(given))  # type: ignore[misc]
    _eight_bits(tried)
    source = torch.randn(_COPIED, device="cuda").half()
    target = torch.empty_like(source)
    bandwidth = 4.0 * _COPIED / _card_seconds(lambda: target.copy_(source))
    return {"flops": flops, "bandwidth": bandwidth}


def _eight_bits(tried: Callable[[str, float, Callable[[], object]], None]) -> None:
    import torch

    side = _SIDES[-1]
    product = {name: getattr(torch, called) for name, called in _PRODUCTS.items()}
    whole = torch.randint(-100, 100, (side, side), device="cuda", dtype=torch.int8)
    tried("int8", 2.0 * side**3, lambda: product["int8"](whole, whole.t()))
    if torch.cuda.get_device_capability() >= (8, 9):
        small = torch.randn(side, side, device="cuda").to(torch.float8_e4m3fn)
        one = torch.ones((), device="cuda")
        tried(
            "fp8", 2.0 * side**3,
            lambda: product["fp8"](
                small, small.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True
            ),
        )  # fmt: skip


def _card_seconds(run: Callable[[], object]) -> float:
    """Seconds of one call, by the card's own clock: the best of some rounds of ten, after one."""
    import torch

    event: Any = torch.cuda.Event
    for _ in range(3):
        run()
    best = float("inf")
    for _ in range(REPEATS):
        start, end = event(enable_timing=True), event(enable_timing=True)
        start.record()
        for _ in range(10):
            run()
        end.record()
        torch.cuda.synchronize()
        best = min(best, start.elapsed_time(end) / 1e4)
    return best


if __name__ == "__main__":
    print(json.dumps(by_cuda() if sys.argv[1:] == ["cuda"] else _measure("cpu")))
