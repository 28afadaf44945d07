"""Which wheels serve which variant, and how a runtime is opened; travels inside a package (standard library).

A runtime is an engine with the wheels that it comes in.  ONNX Runtime's for a
CPU, for CUDA, for DirectML and for Windows ML are four wheels of one module, of
which an environment holds one; OpenVINO's single wheel serves all its devices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

OWN: Final = frozenset({("onnxruntime", "cuda"), ("onnxruntime", "directml"), ("onnxruntime", "windowsml")})
"""Engines whose wheels for a device are others than for a CPU."""
ON_TORCH: Final = ("eager", "compile", "aoti")
"""How torch runs a component, by the engine's name in the manifest; its one wheel serves them all."""
BY_TORCHAO: Final = frozenset({"int8", "fp8", "w8"})
"""Precisions in which torch's matrix products have weights of torchao's, which are read by it again."""
CUDA_OPTIONS: Final[Mapping[str, str]] = {
    "cudnn_conv_algo_search": "HEURISTIC",
    "arena_extend_strategy": "kSameAsRequested",
    "use_tf32": "0",
}
"""Of ONNX Runtime on CUDA, where a package draws as where it was measured: an exhaustive search costs minutes
for each new shape; fp32 means fp32."""
REQUIREMENTS: Final = "requirements.txt"
"""Of the runtime that the package was made for."""


def runtime(engine: str, device: str) -> str:
    """The name of what serves an engine on a device: `onnxruntime`, `onnxruntime-cuda`, `torch`."""
    if engine in ON_TORCH:
        return "torch"
    return f"{engine}-{device}" if (engine, device) in OWN else engine


def requirements_file(runtime: str) -> str:
    """Of variants on another runtime than the package's own."""
    return f"requirements-{runtime}.txt"


def requirements_of(facts: Mapping[str, Any], engine: str, device: str) -> str:
    """The file of a package that installs what its variant for an engine and device needs; empty: none does.

    Args:
        facts: the manifest's `additional_metadata`.
    """
    asked, own = runtime(engine, device), facts["built_for"]
    if asked == runtime(own["engine"], own["device"]):
        return REQUIREMENTS
    return requirements_file(asked) if asked in facts.get("more_wheels", {}) else ""
