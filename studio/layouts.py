"""What a candidate can be exported as, for front ends; `engines.layouts` does it."""

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
