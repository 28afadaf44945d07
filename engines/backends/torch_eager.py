"""torch eager: the reference (fp32), and half precision; the modules themselves, no export needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from engines import drivers
from engines.backends.base import Artifact, Backend, Built, Options
from engines.backends.guard import Arrays, Component
from engines.backends.torch_graphs import GraphedComponent
from engines.capture.capture import Capture
from engines.plan import Precision

if TYPE_CHECKING:
    import torch


class TorchEager(Backend):
    name = "torch"
    title = "torch eager"
    packages = ("torch",)
    precisions: ClassVar = {
        "fp32": "",
        "fp16": "",
        "bf16": "",
        "fp8": "torch eager computes float8 slower than bf16; use compile",
        "int8": "torch eager has no fast int8 kernels for convolutions",
    }

    def absent(self, device: str) -> str:
        return drivers.torch_on(device)

    def objection(self, precision: Precision, device: str) -> str:
        if precision == "fp16" and device == "cpu":
            return "a CPU computes fp16 slower than fp32; use bf16"
        return super().objection(precision, device)

    def uses_channels_last(self) -> bool:
        return True

    def settings(self, options: Options) -> tuple[str, ...]:
        return ("graphs",) if options.graphs else ()

    def _build(self, capture: Capture, options: Options, folder: Path) -> Built:  # noqa: ARG002
        return Built((), {"options": {}, "graphs": True} if options.graphs else {})

    def component_of(self, artifact: Artifact) -> Component:
        import torch

        capture = artifact.capture
        plain = artifact.precision == "fp32" and not artifact.channels_last and artifact.device == "cpu"
        # A changed module must not become the reference that others are compared with.
        module = capture.module if plain else Capture(capture.model, capture.structure).module
        inputs, outputs = ([one.name for one in both] for both in (capture.inputs, capture.outputs))
        if artifact.metadata.get("graphs"):
            return GraphedComponent(
                module,
                inputs,
                outputs,
                artifact.precision,
                artifact.device,
                channels_last=artifact.channels_last,
                compiled=False,
            )
        sparse = artifact.device == "cuda" and capture.structure.denoiser.sparse
        return TorchComponent(
            module,
            inputs,
            outputs,
            {"bf16": torch.bfloat16, "fp16": torch.float16}.get(artifact.precision, torch.float32),
            channels_last=artifact.channels_last,
            device=artifact.device,
            sparse=sparse and capture.component.startswith("denoiser"),
        )


class TorchComponent:
    """A module as a function from arrays to arrays; timesteps (a number a row) and tokens keep their type."""

    def __init__(
        self,
        module: torch.nn.Module,
        inputs: Sequence[str],
        outputs: Sequence[str],
        dtype: torch.dtype,
        *,
        channels_last: bool = False,
        device: str = "cpu",
        sparse: bool = False,
    ) -> None:
        import torch

        self._module: Any = module.to(device=device, dtype=dtype)
        if sparse:
            _skip_zeros(self._module)
        self._device = device
        if channels_last:
            self._module = self._module.to(memory_format=torch.channels_last)
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._dtype, self._channels_last = dtype, channels_last

    def __call__(self, inputs: Arrays) -> Arrays:
        import torch

        tensors = []
        for name in self._inputs:
            tensor = torch.from_numpy(np.ascontiguousarray(inputs[name])).to(self._device)
            if tensor.is_floating_point() and tensor.ndim > 1:
                tensor = tensor.to(self._dtype)
            if self._channels_last and tensor.ndim == 4:
                tensor = tensor.contiguous(memory_format=torch.channels_last)
            tensors.append(tensor)
        with torch.inference_mode():
            found = self._module(*tensors)
        values = found if isinstance(found, tuple) else (found,)
        return {
            name: value.float().contiguous().cpu().numpy()
            for name, value in zip(self._outputs, values, strict=True)
        }


def _skip_zeros(module: torch.nn.Module) -> None:
    """Keep 2:4 weights in the form whose products skip the zeros; CUDA only."""
    import torch
    from torch.sparse import to_sparse_semi_structured

    from engines.capture.pruning import fits_two_of_four

    for layer in module.modules():
        if isinstance(layer, torch.nn.Linear) and fits_two_of_four(layer):
            layer.weight = torch.nn.Parameter(to_sparse_semi_structured(layer.weight), requires_grad=False)
