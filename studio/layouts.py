"""What a candidate can be exported as, and what a package can hold, for front ends; `engines` does it."""

from __future__ import annotations

from typing import Final

LAYOUTS: Final = {
    "diffusers": ("diffusers", "A model folder for DiffusionPipeline.from_pretrained: torch, on any device."),
    "openvino-genai": (
        "OpenVINO GenAI",
        "A folder for openvino_genai.Text2ImagePipeline, in Python and C++, on Intel CPU, GPU and NPU.",
    ),
    "triton": (
        "NVIDIA Triton",
        "A model repository for Triton Inference Server: ONNX components and the host loop by BLS.",
    ),
    "hub": (
        "Hugging Face hub",
        "A model repository for the hub: the package, pictures and a generated model card.",
    ),
    "container": (
        "Container",
        "A Dockerfile with package and wheels, which builds a serving image without a network.",
    ),
}
"""Name, as `--as` takes it, to title and summary."""

VARIANTS: Final = {
    "openvino": ("OpenVINO", ("cpu", "intel-gpu", "intel-npu")),
    "onnxruntime": ("ONNX Runtime", ("cpu", "cuda", "directml", "windowsml")),
    "mlx": ("MLX", ("mlx",)),
    "coreml": ("Core ML", ("coreml",)),
    "tensorrt": ("TensorRT-RTX", ("cuda",)),
    "eager": ("PyTorch", ("cpu", "cuda", "mps")),
    "compile": ("torch.compile", ("cpu", "cuda")),
    "aoti": ("AOTInductor", ("cpu",)),
}
"""Engines that a package can hold a variant of: name to title and the devices that a runner opens it on."""
PRECISIONS: Final = ("fp32", "fp16", "bf16", "int8")
"""In which a variant can be built."""
