"""A capture in half precision: every cast written into the program, float32 outside.

Engines that take precision from the graph (ONNX for DirectML and CUDA, strongly
typed TensorRT, MLX, AOTInductor) are all built from these.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from engines.capture.capture import Capture
from engines.capture.pictured import pictured
from engines.errors import BuildError, CaptureError
from engines.plan import Precision

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram
    from torch.fx import Node as TorchNode

Half = Literal["fp16", "bf16"]
HALVES: Final[tuple[Precision, ...]] = ("fp16", "bf16")


def program_of(capture: Capture, precision: Precision) -> ExportedProgram:
    """The captured program itself for fp32, or the component captured again in fp16 or bf16.

    Casts cannot be written into a finished program.  Timesteps (one number a row) stay in float32,
    whose whole numbers half precision cannot hold, and token ids are no floats.

    Raises:
        CaptureError: torch.export refuses the component in this precision.
    """
    if precision not in HALVES:
        return capture.program
    import torch

    dtype = torch.float16 if precision == "fp16" else torch.bfloat16

    class Lowered(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Capture(capture.model, capture.structure).module.to(dtype)

        def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
            lowered = [
                tensor.to(dtype) if spec.dtype == "float32" and spec.shape else tensor
                for tensor, spec in zip(given, capture.inputs, strict=True)
            ]
            found = self.inner(*lowered)
            return tuple(value.float() for value in (found if isinstance(found, tuple) else (found,)))

    example = tuple(torch.from_numpy(capture.example()[spec.name]) for spec in capture.inputs)
    shapes = (tuple({0: torch.export.Dim.DYNAMIC} for _ in capture.inputs),)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(Lowered(), example, dynamic_shapes=shapes, strict=False)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CaptureError(
            f"torch.export cannot capture {capture.component} of {capture.model.name} in {precision}:"
            f" {first[:300]}"
        ) from error


def place(node: TorchNode) -> str:
    """The innermost module that a node comes from, such as `unet.down_blocks.0.attentions.1`."""
    stack: Mapping[str, tuple[str, Any]] = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values() if path]
    return paths[-1] if paths else ""


def check_range(capture: Capture) -> None:
    """Compute in fp16, every intermediate value, where the engine's device cannot be asked.

    A decoder is given the latent of a picture too (`engines.capture.pictured`).

    Runtimes that stand in for a device widen halves between operators and would
    hide it.

    Raises:
        BuildError: a value leaves the range of fp16 (65504), as the decoder of SDXL does.
    """
    import numpy as np
    import torch

    module = Capture(capture.model, capture.structure).module.to(torch.float16)
    drawn = pictured(capture)
    for inputs, of in ((capture.example(batch=1, seed=1), ""), (drawn, " of a picture's latent")):
        if inputs is None:
            continue
        tensors = [torch.from_numpy(np.ascontiguousarray(inputs[spec.name])) for spec in capture.inputs]
        halves = [one.half() if one.is_floating_point() and one.ndim > 1 else one for one in tensors]
        with torch.inference_mode():
            found = module(*halves)
        for value, spec in zip(found if isinstance(found, tuple) else (found,), capture.outputs, strict=True):
            if not bool(torch.isfinite(value).all()):
                raise BuildError(
                    f"its {spec.name}{of} has values that are not finite in fp16, which ends at 65504"
                )
