"""Engine files to components; travels inside a package (numpy and the engine's runtime)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.errors import PackageError
from engines.package import torch_files, windows_ml
from engines.package.processors import restricted
from engines.package.runtimes import CUDA_OPTIONS, requirements_file, runtime

Arrays = dict[str, NDArray[Any]]
Component = Callable[[Arrays], Arrays]
THREADS: Final = {
    "openvino": "INFERENCE_NUM_THREADS",
    "onnxruntime": "intra_op_num_threads",
    "eager": "threads",
    "compile": "threads",
    "aoti": "threads",
}
"""Under what name an engine's options say how many threads it may use on a CPU."""

_PLUGINS: Final = {"cpu": "CPU", "intel-gpu": "GPU", "intel-npu": "NPU"}
_PROVIDERS: Final = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
}
OPENS: Final[Mapping[str, tuple[str, ...]]] = {
    "openvino": tuple(_PLUGINS),
    "onnxruntime": (*_PROVIDERS, "windowsml"),
    "mlx": ("mlx",),
    "coreml": ("coreml",),
    "tensorrt": ("cuda",),
    "eager": ("cpu", "cuda", "mps"),
    "compile": ("cpu", "cuda"),
    "aoti": ("cpu",),
}
"""By engine, the devices that this runner opens its files on; on any other it refuses."""
_WHEELS: Final = {
    "cuda": "onnxruntime-gpu",
    "directml": "onnxruntime-directml",
    "windowsml": "onnxruntime-windowsml",
}
"""Those of ONNX Runtime that have a device's provider."""
LARGE: Final = 2**30
"""Bytes of weights above which one dynamic model serves all batch sizes, to spare memory."""


def load(folder: Path, engine: Mapping[str, Any]) -> Component:
    """One variant as a component.

    Args:
        folder: where the variant's files lie.
        engine: the manifest's `executor_info["pareto-studio"]`.

    Raises:
        PackageError: the runtime is missing or refuses the file, or the device is none that it knows.
    """
    name = str(engine["engine"])
    openers = {
        "openvino": _openvino,
        "onnxruntime": _onnxruntime,
        "mlx": _mlx,
        "coreml": _coreml,
        "tensorrt": _tensorrt,
        "eager": _eager,
        "compile": _compile,
        "aoti": _aoti,
    }
    opener = openers.get(name)
    if opener is None:
        raise PackageError(f"This package needs the engine {name}, which its runner does not know.")
    device = str(engine.get("device", "cpu"))
    if device not in OPENS[name]:
        raise PackageError(f"This package needs {name} on {device}, which its runner does not know.")
    try:
        return opener(folder / engine["model_file"], dict(engine.get("options", {})), device)
    except ImportError as error:
        raise PackageError(
            f"{name} is not installed ({error}); `run.py --info` names the file of wheels that brings it."
        ) from None
    except PackageError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise PackageError(
            f"{name} cannot load {engine['model_file']} on this machine ({reason}); install the versions in "
            "requirements.txt, or export the package for this machine."
        ) from error


def _openvino(model_file: Path, options: dict[str, str], device: str) -> Component:
    """Compiled with static shapes, one for each batch size that occurs: dynamic shapes halve the speed."""
    import openvino

    core = openvino.Core()
    wanted = _PLUGINS[device]
    there = core.available_devices
    if not any(one.split(".")[0] == wanted for one in there):  # it compiles when first called: too late
        raise PackageError(f"openvino finds no {wanted} on this machine, only {', '.join(there)}.")
    model = core.read_model(model_file)
    inputs = {port.get_any_name(): list(port.get_partial_shape())[1:] for port in model.inputs}
    names = [port.get_any_name() for port in model.outputs]
    static = model_file.with_suffix(".bin").stat().st_size < LARGE
    requests: dict[int, Any] = {}

    def request(batch: int) -> Any:
        size = batch if static else -1
        if size not in requests:
            model.reshape({name: openvino.PartialShape([size, *shape]) for name, shape in inputs.items()})
            compiled = core.compile_model(model, wanted, options)
            requests[size] = compiled.create_infer_request()
        return requests[size]

    def call(arrays: Arrays) -> Arrays:
        given = [np.ascontiguousarray(arrays[name]) for name in inputs]
        found = request(len(given[0])).infer(given, share_inputs=True)
        return {name: found[at].copy() for at, name in enumerate(names)}

    return call


def _onnxruntime(model_file: Path, options: dict[str, str], device: str) -> Component:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = int(options.pop(THREADS["onnxruntime"], 0)) or restricted()
    for key, value in options.items():
        settings.add_session_config_entry(key, value)
    if device == "windowsml":
        if find_spec("windowsml") is None:
            raise _lacking("catalogue of Windows ML's", device)
        if not windows_ml.choose_device(settings):
            raise PackageError(f"{windows_ml.NONE}; take the package's variant for directml or cpu.")
        session = onnxruntime.InferenceSession(str(model_file), settings)
    else:
        session = _with_provider(model_file, settings, device)
    names = [output.name for output in session.get_outputs()]

    def call(inputs: Arrays) -> Arrays:
        return dict(zip(names, session.run(names, inputs), strict=True))

    return call


def _lacking(what: str, device: str) -> PackageError:
    file = requirements_file(runtime("onnxruntime", device))
    return PackageError(
        f"The ONNX Runtime that is installed has no {what}; install {_WHEELS[device]} in its place "
        f"({file}, in an environment of its own)."
    )


def _with_provider(model_file: Path, settings: Any, device: str) -> Any:
    """A session by the provider that this build of ONNX Runtime has for a device."""
    import onnxruntime

    wanted = _PROVIDERS[device]
    if device == "cuda" and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA and cuDNN from wheels, where there are any
    if wanted not in onnxruntime.get_available_providers():
        raise _lacking(wanted, device)
    if device == "directml":  # it takes neither memory patterns nor parallel execution
        settings.enable_mem_pattern = False
        settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    providers: list[Any] = [(wanted, dict(CUDA_OPTIONS)) if device == "cuda" else wanted]
    if device != "cpu":
        providers.append("CPUExecutionProvider")
    session = onnxruntime.InferenceSession(str(model_file), settings, providers=providers)
    if session.get_providers()[0] != wanted:
        raise PackageError(
            f"ONNX Runtime turned to the CPU because {wanted} did not load; update the driver."
        )
    return session


def _tensorrt(model_file: Path, _options: dict[str, str], _device: str) -> Component:
    from engines.package.tensorrt_plan import open_plan

    return open_plan(model_file)


def _eager(model_file: Path, options: dict[str, str], device: str) -> Component:
    return torch_files.program(model_file, options, device, compiled=False)


def _compile(model_file: Path, options: dict[str, str], device: str) -> Component:
    return torch_files.program(model_file, options, device, compiled=True)


def _aoti(model_file: Path, options: dict[str, str], _device: str) -> Component:
    return torch_files.native(model_file, options)


def _mlx(model_file: Path, _options: dict[str, str], _device: str) -> Component:
    """A lowered graph; its program and its weights lie side by side."""
    from engines.backends.mlx_graph.run import open_folder

    return open_folder(model_file.parent)


def _coreml(model_file: Path, options: dict[str, str], _device: str) -> Component:
    """A function of the package for each batch of one and two; needs macOS."""
    import importlib

    tools: Any = importlib.import_module("coremltools")
    package = next(folder for folder in model_file.parents if folder.suffix == ".mlpackage")
    units = getattr(tools.ComputeUnit, options.get("compute_units", "ALL"))
    functions: dict[int, Any] = {}

    def function(batch: int) -> Any:
        if batch not in functions:
            name = f"batch{batch}"
            functions[batch] = tools.models.MLModel(str(package), compute_units=units, function_name=name)
        return functions[batch]

    function(1).predict  # noqa: B018 - off macOS this is where it says so

    def call(arrays: Arrays) -> Arrays:
        known = {
            name: np.ascontiguousarray(value.astype(np.int32) if value.dtype == np.int64 else value)
            for name, value in arrays.items()
        }
        count, at, pieces = len(next(iter(known.values()))), 0, []
        while at < count:
            size = min(2, count - at)
            pieces.append(function(size).predict({name: one[at : at + size] for name, one in known.items()}))
            at += size
        return {
            name: np.concatenate([np.asarray(piece[name], dtype=np.float32) for piece in pieces])
            for name in pieces[0]
        }

    return call
