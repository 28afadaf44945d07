"""Which engines serve which device, and what a model runs as there before any technique.  Light."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engines.plan import Backend, Precision

SERVES: Final[Mapping[str, tuple[Backend, ...]]] = {
    "cpu": ("torch", "compile", "onnxruntime", "openvino"),
    "cuda": ("torch", "compile", "onnxruntime", "tensorrt"),
    "directml": ("onnxruntime",),
    "windowsml": ("onnxruntime",),
    "mps": ("torch",),
    "mlx": ("mlx",),
    "coreml": ("coreml",),
    "intel-gpu": ("openvino",),
    "intel-npu": ("openvino",),
}
"""By device id; the first engine is the device's plain one, without an `engine` in the recipe."""

PLAIN: Final[Mapping[str, Precision]] = {
    "cuda": "fp16",
    "directml": "fp16",
    "windowsml": "fp16",
    "mps": "fp16",
    "mlx": "fp16",
    "coreml": "fp16",
    "intel-gpu": "fp16",
    "intel-npu": "fp16",
}
"""What a model runs as on a device that computes halves at twice the rate; fp32 elsewhere."""

TITLES: Final[Mapping[str, str]] = {
    "cpu": "the CPU",
    "cuda": "an NVIDIA GPU",
    "directml": "a DirectX 12 GPU",
    "windowsml": "Windows ML",
    "mps": "an Apple GPU",
    "mlx": "an Apple GPU",
    "coreml": "an Apple device",
    "intel-gpu": "an Intel GPU",
    "intel-npu": "an Intel NPU",
}


TORCH: Final[Mapping[str, str]] = {"cpu": "cpu", "cuda": "cuda", "mps": "mps", "mlx": "mps", "coreml": "mps"}
"""What torch calls a device; one that it does not know is left out."""


def plain_engine(device: str) -> Backend:
    """What runs a model on a device where the recipe names no engine."""
    return SERVES.get(device, ("torch",))[0]


def plain_precision(device: str) -> Precision:
    """What a model is computed in where the recipe names no precision."""
    return PLAIN.get(device, "fp32")


def baseline(device: str) -> str:
    """What computes the unchanged model that everything is compared with on a device."""
    if device not in TORCH:
        return f"{plain_engine(device)} {plain_precision(device)}"
    where = "" if device in ("cpu", "cuda", "mps") else f" on {TORCH[device]}"
    return f"torch eager {'fp32' if plain_precision(device) == 'fp32' else 'in a half'}{where}"


def devices_of(backend: Backend) -> tuple[str, ...]:
    """The devices that an engine serves."""
    return tuple(device for device, engines in SERVES.items() if backend in engines)
