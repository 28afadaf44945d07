"""torch.compile in the process, for a GPU: repeated blocks compiled once each, the whole as a CUDA graph.

Regional compilation (diffusers documentation, "Regional compilation") takes an
eighth of the time and runs as fast; the graph then takes away what launching
costs, which is most of a small model's time.  A graph has fixed shapes and
addresses, so there is one for each batch size, fed through buffers of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.backends.lowered import HALVES
from engines.errors import BuildError
from engines.plan import Precision

if TYPE_CHECKING:
    import torch

Arrays = dict[str, NDArray[Any]]

WARM: Final = 3
"""Calls before a graph is captured: compiling, choosing kernels, filling the allocator."""
GRAPHS: Final = 4
"""Batch sizes whose graphs are kept; each holds the memory of one pass."""
LEAST_WIDTH: Final = 16
"""Float8 and int8 products want both sides of a layer to be multiples of this."""
FLOAT8_SINCE: Final = (8, 9)
"""Compute capability of the first cards with float8 products (Ada)."""


def quantising_objection(precision: Precision) -> str:
    """Why fp8 or int8 is not to be had; empty where it is, and for other precisions."""
    if precision in ("fp8", "int8") and find_spec("torchao") is None:
        return "torchao is not installed (pip install torchao)"
    return ""


def dtype_of(precision: Precision) -> Any:
    """What the component computes in outside quantised layers."""
    import torch

    if precision not in HALVES and precision not in ("fp8", "int8"):
        return torch.float32
    return torch.float16 if precision == "fp16" else torch.bfloat16


def quantise(module: torch.nn.Module, precision: Precision) -> int:
    """Linear layers to dynamic fp8 or int8, weights and activations, by torchao; how many.

    Raises:
        BuildError: the card has no float8.
    """
    import torch

    torchao: Any = importlib.import_module("torchao.quantization")

    if precision == "fp8" and torch.cuda.is_available():
        capability = torch.cuda.get_device_capability()
        if capability < FLOAT8_SINCE:
            raise BuildError(
                f"this card (SM {capability[0]}.{capability[1]}) has no float8; use bf16 or int8"
            )

    chosen = []

    def wide(layer: torch.nn.Module, name: str) -> bool:
        fits = isinstance(layer, torch.nn.Linear) and not (
            layer.in_features % LEAST_WIDTH or layer.out_features % LEAST_WIDTH
        )
        if fits:
            chosen.append(name)
        return fits

    fp8 = precision == "fp8"
    kind = "Float8DynamicActivationFloat8WeightConfig" if fp8 else "Int8DynamicActivationInt8WeightConfig"
    torchao.quantize_(module, getattr(torchao, kind)(), filter_fn=wide)
    return len(chosen)


def compile_regions(module: torch.nn.Module) -> int:
    """Compile each repeated block in place, or the whole where the model names none; how many regions."""
    import torch

    names = {name for part in module.modules() for name in (getattr(part, "_repeated_blocks", None) or ())}
    regions = [part for part in module.modules() if type(part).__name__ in names]
    # Without its own graphs: the caller captures one around everything.
    for region in regions or [module]:
        region.compile(mode="max-autotune-no-cudagraphs" if torch.cuda.is_available() else "default")
    return len(regions) or 1


@dataclass(slots=True)
class _Graph:
    inputs: dict[str, Any]
    outputs: tuple[Any, ...]
    graph: Any


class GraphedComponent:
    """A module as a function from arrays to arrays, compiled at its first call and replayed after it."""

    def __init__(
        self,
        module: torch.nn.Module,
        inputs: Sequence[str],
        outputs: Sequence[str],
        precision: Precision,
        device: str,
        *,
        channels_last: bool = False,
    ) -> None:
        import torch

        dtype = dtype_of(precision)
        self._module: Any = module.to(device=device, dtype=dtype).eval()
        if channels_last:
            self._module = self._module.to(memory_format=torch.channels_last)
        self.quantised = quantise(self._module, precision) if precision in ("fp8", "int8") else 0
        self.regions = compile_regions(self._module)
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._device, self._dtype = device, dtype
        self._channels_last = channels_last
        self._graphs: dict[int, _Graph] = {}

    def __call__(self, inputs: Arrays) -> Arrays:
        import torch

        with torch.inference_mode():
            tensors = {name: self._tensor(inputs[name]) for name in self._inputs}
            found = self._replayed(tensors) if self._device == "cuda" else self._computed(tensors)
            return {
                name: value.float().cpu().numpy() for name, value in zip(self._outputs, found, strict=True)
            }

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        import torch

        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
        if tensor.is_floating_point() and tensor.ndim > 1:
            tensor = tensor.to(self._dtype)
        if self._channels_last and tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        return tensor

    def _computed(self, tensors: dict[str, Any]) -> tuple[Any, ...]:
        found = self._module(*(tensors[name] for name in self._inputs))
        return found if isinstance(found, tuple) else (found,)

    def _replayed(self, tensors: dict[str, Any]) -> tuple[Any, ...]:
        batch = len(tensors[self._inputs[0]])
        if batch not in self._graphs:
            while len(self._graphs) >= GRAPHS:
                del self._graphs[next(iter(self._graphs))]
            self._graphs[batch] = self._captured(tensors)
        kept = self._graphs[batch]
        for name, tensor in tensors.items():
            kept.inputs[name].copy_(tensor)
        kept.graph.replay()
        return kept.outputs

    def _captured(self, tensors: dict[str, Any]) -> _Graph:
        import torch

        held = {name: tensor.clone() for name, tensor in tensors.items()}
        side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM):
                self._computed(held)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self._computed(held)
        return _Graph(held, outputs, graph)
