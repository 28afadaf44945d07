"""Engines: one file each; `backend(name)` gives the one instance of a kind.  Importing this is light."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from engines.plan import Backend as BackendName

if TYPE_CHECKING:
    from engines.backends.base import Backend

NAMES: tuple[BackendName, ...] = ("torch", "compile", "onnxruntime", "openvino")


@cache
def backend(name: BackendName) -> Backend:
    """The engine of that name.

    Raises:
        BuildError: there is none.
    """
    if name == "torch":
        from engines.backends.torch_eager import TorchEager

        return TorchEager()
    if name == "compile":
        from engines.backends.torch_compile import TorchCompile

        return TorchCompile()
    if name == "onnxruntime":
        from engines.backends.onnx_runtime import OnnxRuntime

        return OnnxRuntime()
    if name == "openvino":
        from engines.backends.open_vino import OpenVino

        return OpenVino()
    from engines.errors import BuildError

    raise BuildError(f"There is no engine {name!r}; use one of {', '.join(NAMES)}.")
