"""Engines: one file each; `backend(name)` gives the one instance of a kind.  Importing this is light."""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, Final, get_args

from engines.plan import Backend as BackendName

if TYPE_CHECKING:
    from engines.backends.base import Backend

NAMES: tuple[BackendName, ...] = get_args(BackendName)

_CLASSES: Final[dict[BackendName, tuple[str, str]]] = {
    "torch": ("torch_eager", "TorchEager"),
    "compile": ("torch_compile", "TorchCompile"),
    "onnxruntime": ("onnx_runtime", "OnnxRuntime"),
    "openvino": ("open_vino", "OpenVino"),
    "tensorrt": ("tensor_rt", "TensorRt"),
    "mlx": ("apple_mlx", "AppleMlx"),
    "coreml": ("core_ml", "CoreMl"),
}


@cache
def backend(name: BackendName) -> Backend:
    """The engine of that name.

    Raises:
        BuildError: there is none.
    """
    if name not in _CLASSES:
        from engines.errors import BuildError

        raise BuildError(f"There is no engine {name!r}; use one of {', '.join(NAMES)}.")
    module, kind = _CLASSES[name]
    found: Backend = getattr(importlib.import_module(f"engines.backends.{module}"), kind)()
    return found
