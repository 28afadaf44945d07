"""torch eager: the reference (fp32), and half precision; the modules themselves, no export needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from engines import drivers, installing
from engines.backends.base import Artifact, Backend, Built, Options, Supplement
from engines.backends.guard import Arrays, Component
from engines.backends.serves import plain_precision
from engines.backends.torch_graphs import GraphedComponent, quantise, quantising_objection
from engines.backends.torch_ways import (
    cast_layers,
    has_bf16,
    offload_groups,
    refuse_slow_bf16,
    sage_objection,
    seated,
    within,
)
from engines.capture.capture import Capture
from engines.errors import BuildError
from engines.plan import Offload, Precision, TorchWays

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
        "w8": "",
        **dict.fromkeys(("w6", "w4"), "torch eager keeps weights in 8 bits"),
    }

    def absent(self, device: str) -> str:
        return drivers.torch_on(device)

    def remedy(self, device: str) -> str:
        return installing.torch_for_card() if device == "cuda" and not drivers.nvidia() else ""

    def supplements(self, device: str) -> Sequence[Supplement]:  # noqa: ARG002
        return (Supplement("torchao", "weights in 8 bits", "cuda"),)

    def objection(self, precision: Precision, device: str) -> str:
        if precision == "fp16" and device == "cpu":
            return "a CPU computes fp16 slower than fp32; use bf16"
        return super().objection(precision, device) or quantising_objection(precision)

    def uses_channels_last(self) -> bool:
        return True

    def machine(self) -> tuple[str, ...]:
        # Nothing is stored but what was found out: bf16 is refused to processors that lack it.
        return ("bf16",) if has_bf16() else ()

    def settings(self, options: Options) -> tuple[str, ...]:
        ways = [f"{name}={value}" for name, value in options.ways.facts().items()]
        return (*(("graphs",) if options.graphs else ()), *ways)

    def _dtype(self, artifact: Artifact) -> torch.dtype:
        import torch

        # weights alone in 8 bits: the arithmetic is the device's own
        precision = artifact.precision if artifact.precision != "w8" else plain_precision(artifact.device)
        return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)

    def _build(self, capture: Capture, options: Options, folder: Path) -> Built:  # noqa: ARG002
        refuse_slow_bf16(options)
        if options.ways.attention == "sage" and (reason := sage_objection()):
            raise BuildError(reason)
        ways = options.ways.facts()
        facts = {"options": ways} if options.graphs or ways else {}
        return Built((), facts | ({"graphs": True} if options.graphs else {}))

    def component_of(self, artifact: Artifact) -> Component:
        capture = artifact.capture
        ways = TorchWays(**artifact.metadata.get("options", {}))
        plain = artifact.precision == "fp32" and not artifact.channels_last and artifact.device == "cpu"
        plain = plain and not ways.cast
        # A changed module must not become the reference that others are compared with.
        module = capture.module if plain else Capture(capture.model, capture.structure).module
        inputs, outputs = ([one.name for one in both] for both in (capture.inputs, capture.outputs))
        if artifact.metadata.get("graphs"):
            graphed = GraphedComponent(
                module,
                inputs,
                outputs,
                artifact.precision,
                artifact.device,
                channels_last=artifact.channels_last,
                compiled=False,
            )
            return within(graphed, ways)
        sparse = artifact.device == "cuda" and capture.structure.denoiser.sparse
        component = TorchComponent(
            module,
            inputs,
            outputs,
            self._dtype(artifact),
            channels_last=artifact.channels_last,
            device=artifact.device,
            sparse=sparse and capture.component.startswith("denoiser"),
            narrow=artifact.precision == "w8",
            cast=ways.cast,
            offload=ways.offload,
        )
        if ways.offload == "model":
            return within(seated(module, artifact.device, component), ways)
        return within(component, ways)


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
        narrow: bool = False,
        cast: bool = False,
        offload: Offload = "none",
    ) -> None:
        import torch

        self._module: Any = module.to(device=device if offload == "none" else "cpu", dtype=dtype)
        if sparse:
            _skip_zeros(self._module)
        self._device = device
        if channels_last:
            self._module = self._module.to(memory_format=torch.channels_last)
        if narrow:
            quantise(self._module, "w8")
        if cast:
            cast_layers(self._module, dtype)
        if offload == "group":
            offload_groups(self._module, device)
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
