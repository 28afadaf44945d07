"""torch eager: the reference (fp32), and bf16; the modules themselves, no export needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from engines.backends.base import Arrays, Artifact, Backend, Built, Component, Options
from engines.capture.capture import Capture

if TYPE_CHECKING:
    import torch


class TorchEager(Backend):
    name = "torch"
    title = "torch eager"
    packages = ("torch",)
    precisions: ClassVar = {
        "fp32": "",
        "bf16": "",
        "int8": "torch eager has no fast int8 kernels for convolutions",
    }

    def uses_channels_last(self) -> bool:
        return True

    def _build(self, capture: Capture, options: Options, folder: Path) -> Built:  # noqa: ARG002
        return Built()

    def component_of(self, artifact: Artifact) -> Component:
        import torch

        capture = artifact.capture
        plain = artifact.precision == "fp32" and not artifact.channels_last
        # A changed module must not become the reference that others are compared with.
        module = capture.module if plain else Capture(capture.model, capture.structure).module
        return TorchComponent(
            module,
            [spec.name for spec in capture.inputs],
            [spec.name for spec in capture.outputs],
            torch.bfloat16 if artifact.precision == "bf16" else torch.float32,
            channels_last=artifact.channels_last,
        )


class TorchComponent:
    """A module as a function from arrays to arrays; timesteps and token ids keep their type."""

    def __init__(
        self,
        module: torch.nn.Module,
        inputs: Sequence[str],
        outputs: Sequence[str],
        dtype: torch.dtype,
        *,
        channels_last: bool = False,
    ) -> None:
        import torch

        self._module: Any = module.to(dtype)
        if channels_last:
            self._module = self._module.to(memory_format=torch.channels_last)
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._dtype, self._channels_last = dtype, channels_last

    def __call__(self, inputs: Arrays) -> Arrays:
        import torch

        tensors = []
        for name in self._inputs:
            tensor = torch.from_numpy(np.ascontiguousarray(inputs[name]))
            if tensor.is_floating_point() and name != "timestep":
                tensor = tensor.to(self._dtype)
            if self._channels_last and tensor.ndim == 4:
                tensor = tensor.contiguous(memory_format=torch.channels_last)
            tensors.append(tensor)
        with torch.inference_mode():
            found = self._module(*tensors)
        values = found if isinstance(found, tuple) else (found,)
        return {
            name: value.float().contiguous().numpy()
            for name, value in zip(self._outputs, values, strict=True)
        }
