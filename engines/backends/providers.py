"""ONNX Runtime's execution providers: a session on a device, or one sentence why there is none.

ONNX Runtime turns to the CPU without a word where a provider does not load;
here that is an error.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.errors import BuildError
from engines.package import windows_ml
from engines.package.processors import restricted
from engines.package.runtimes import CUDA_OPTIONS

Arrays = dict[str, NDArray[Any]]

CPU: Final = "CPUExecutionProvider"
PROVIDERS: Final[Mapping[str, str]] = {
    "cpu": CPU,
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
}

_TURN: Final = threading.Lock()
"""DirectML's allocator is one for the process and not safe between threads (onnxruntime issue 20713)."""


def settings_for(device: str, entries: Mapping[str, str]) -> Any:
    """Session options of a device.

    DirectML takes neither memory patterns nor parallel execution
    (onnxruntime.ai, DirectML execution provider, configuration options).
    """
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = restricted()
    for name, value in entries.items():
        settings.add_session_config_entry(name, value)
    if device == "directml":
        settings.enable_mem_pattern = False
        settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    return settings


def open_session(path: Path, device: str, entries: Mapping[str, str]) -> Any:
    """A session whose first provider is the device's.

    Raises:
        BuildError: this build of ONNX Runtime lacks the provider, or it did not load.
    """
    import onnxruntime

    settings = settings_for(device, entries)
    if device == "windowsml":
        if not windows_ml.choose_device(settings):
            raise BuildError(windows_ml.NONE)
        return onnxruntime.InferenceSession(str(path), settings)
    wanted = PROVIDERS[device]
    if device == "cuda" and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA and cuDNN from the wheels that torch brought
    able = onnxruntime.get_available_providers()
    if wanted not in able:
        raise BuildError(f"this ONNX Runtime has {' and '.join(able)}, not {wanted}")
    providers: list[Any] = [(wanted, dict(CUDA_OPTIONS)) if device == "cuda" else wanted]
    session = onnxruntime.InferenceSession(
        str(path), settings, providers=providers if wanted == CPU else [*providers, CPU]
    )
    used = session.get_providers()
    if used[0] != wanted:
        raise BuildError(f"ONNX Runtime turned to {used[0]} because {wanted} did not load")
    return session


class OnnxComponent:
    """A session as a function from arrays to arrays; the batch is dynamic."""

    def __init__(self, path: Path, options: Mapping[str, str], device: str = "cpu") -> None:
        self._session = open_session(path, device, options)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._alone = device in ("directml", "windowsml")

    def __call__(self, inputs: Arrays) -> Arrays:
        if not self._alone:
            return self._run(inputs)
        with _TURN:
            return self._run(inputs)

    def _run(self, inputs: Arrays) -> Arrays:
        found = self._session.run(self._outputs, inputs)
        return {
            name: value.astype(np.float32, copy=False)
            for name, value in zip(self._outputs, found, strict=True)
        }
