"""CUDA graphs of a component, eager or compiled: launching its kernels costs nothing any more.

A graph has fixed shapes and addresses, so there is one for each batch size,
fed through buffers of its own.  What is compiled is compiled in the process,
repeated blocks once for each shape (diffusers documentation, "Regional
compilation"): of a package made ahead by AOTInductor for a card, opening it
ended the process (torch 2.11, H200).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from engines import installing
from engines.backends.lowered import HALVES
from engines.errors import BuildError
from engines.models.inside import in_a_block
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


CONFIGS: Final[dict[Precision, str]] = {
    "fp8": "Float8DynamicActivationFloat8WeightConfig",
    "int8": "Int8DynamicActivationInt8WeightConfig",
    "w8": "Int8WeightOnlyConfig",
}
"""Of `torchao.quantization`."""


def quantising_objection(precision: Precision) -> str:
    """Why fp8, int8 or w8 is not to be had; empty where it is, and for other precisions."""
    if precision in ("fp8", "int8", "w8") and find_spec("torchao") is None:
        return f"torchao is not installed ({installing.lacking('torchao', extra='cuda')})"
    return ""


def dtype_of(precision: Precision) -> Any:
    """What the component computes in outside quantised layers."""
    import torch

    if precision not in HALVES and precision not in ("fp8", "int8"):
        return torch.float32
    return torch.float16 if precision == "fp16" else torch.bfloat16


def quantise(module: torch.nn.Module, precision: Precision) -> int:
    """Linear layers of a model's blocks to dynamic fp8 or int8, weights and activations, or to int8 weights
    alone (`w8`), by torchao; how many.

    Norms, embeddings and the first and last layers stay as they are: they are little of the work, and all
    that is computed passes through them (huggingface/diffusers-torchao).

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
        fits = fits and in_a_block(name)
        if fits:
            chosen.append(name)
        return fits

    # A scale for each row: the figure that the technique quotes, and closer than one for the whole matrix.
    options = {"granularity": torchao.PerRow()} if precision == "fp8" else {}
    torchao.quantize_(module, getattr(torchao, CONFIGS[precision])(**options), filter_fn=wide)
    return len(chosen)


def compile_regions(module: torch.nn.Module) -> int:
    """Compile each repeated block in place, or the whole where the model has none; how many regions.

    Blocks of one class share what was compiled where their shapes agree; the number of rows is free.
    """
    import torch

    names = {name for part in module.modules() for name in (getattr(part, "_repeated_blocks", None) or ())}
    regions = [part for part in module.modules() if type(part).__name__ in names | _FUSED] if names else []
    config: Any = importlib.import_module("torch._dynamo.config")
    config.recompile_limit = max(config.recompile_limit, SHAPES)
    for region in regions or [module]:
        # Without its own graphs: the caller captures one around everything.
        compiled = torch.compile(region.forward, dynamic=False)
        region.forward = _with_free_rows(compiled)
    return len(regions) or 1


_FUSED: Final = {"ResnetBlock2D"}
"""Not named by diffusers, because it has many shapes; its norms and activations gain most from fusing."""
SHAPES: Final = 64
"""Versions of one block that may be compiled: its shapes at every resolution, with one row and with more."""


def _with_free_rows(compiled: Callable[..., Any]) -> Callable[..., Any]:
    import torch
    from torch._dynamo import maybe_mark_dynamic

    def forward(*args: Any, **kwargs: Any) -> Any:
        for one in (*args, *kwargs.values()):
            if isinstance(one, torch.Tensor) and one.ndim > 1 and len(one) > 1:
                maybe_mark_dynamic(one, 0)
        return compiled(*args, **kwargs)

    return forward


@dataclass(slots=True)
class _Graph:
    inputs: dict[str, Any]
    outputs: tuple[Any, ...]
    graph: Any


Compute = Callable[[dict[str, Any]], tuple[Any, ...]]


class Graphs:
    """A computation recorded once for each batch size, and replayed."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._kept: dict[int, _Graph] = {}

    def __call__(self, tensors: dict[str, Any]) -> tuple[Any, ...]:
        """The outputs, on the card, for inputs that may still be in the host's memory."""
        batch = len(next(iter(tensors.values())))
        if batch not in self._kept:
            while len(self._kept) >= GRAPHS:
                del self._kept[next(iter(self._kept))]
            self._kept[batch] = self._recorded(tensors)
        kept = self._kept[batch]
        for name, tensor in tensors.items():
            kept.inputs[name].copy_(tensor)
        kept.graph.replay()
        return kept.outputs

    def _recorded(self, tensors: dict[str, Any]) -> _Graph:
        import torch

        held = {name: tensor.to("cuda", copy=True) for name, tensor in tensors.items()}
        side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM):
                self._compute(held)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self._compute(held)
        return _Graph(held, outputs, graph)


class GraphedComponent:
    """A module as a function from arrays to arrays, recorded at its first call and replayed after it.

    On another device than `cuda` it is computed, not replayed.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        inputs: Sequence[str],
        outputs: Sequence[str],
        precision: Precision,
        device: str,
        *,
        channels_last: bool = False,
        compiled: bool = True,
    ) -> None:
        import torch

        dtype = dtype_of(precision)
        self._module: Any = module.to(device=device, dtype=dtype).eval()
        if channels_last:
            self._module = self._module.to(memory_format=torch.channels_last)
        self.quantised = quantise(self._module, precision) if precision in ("fp8", "int8") else 0
        self.regions = compile_regions(self._module) if compiled else 0
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._dtype, self._channels_last = dtype, channels_last
        self._compute = Graphs(self._computed) if device == "cuda" else self._computed

    def __call__(self, inputs: Arrays) -> Arrays:
        import torch

        given = {name: torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in self._inputs}
        with torch.inference_mode():
            found = self._compute(given)
            return {name: value.cpu().numpy() for name, value in zip(self._outputs, found, strict=True)}

    def _computed(self, tensors: dict[str, Any]) -> tuple[Any, ...]:
        """float32 in and out; what is cast on the way is part of a recording."""
        found = self._module(*(self._lowered(tensors[name]) for name in self._inputs))
        return tuple(one.float().contiguous() for one in (found if isinstance(found, tuple) else (found,)))

    def _lowered(self, tensor: torch.Tensor) -> torch.Tensor:
        import torch

        if tensor.is_floating_point() and tensor.ndim > 1:
            tensor = tensor.to(self._dtype)
        if self._channels_last and tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        return tensor
