"""How eager torch runs a component: which attention kernel, TF32, and where and how its weights are kept.

`within` surrounds calls with what torch switches globally; `cast_layers` and `offload` change a module.
"""

from __future__ import annotations

import importlib
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from engines.backends.base import Options
from engines.backends.guard import Arrays, Component
from engines.errors import BuildError
from engines.plan import Attention, TorchWays

if TYPE_CHECKING:
    import torch

KERNELS: Final[dict[Attention, str]] = {
    "flash": "FLASH_ATTENTION",
    "efficient": "EFFICIENT_ATTENTION",
    "cudnn": "CUDNN_ATTENTION",
    "math": "MATH",
}
"""Names of `torch.nn.attention.SDPBackend`."""
HERE: Final[dict[str, tuple[Attention, ...]]] = {
    "cpu": ("flash", "math"),
    "cuda": ("flash", "efficient", "cudnn", "math"),
}
"""What torch has a kernel of its own for, by device."""
SAGE_HEADS: Final = (64, 96, 128)
"""Sizes of heads that SageAttention's kernels are written for."""


def sage_objection() -> str:
    """Why SageAttention is not to be had, as the end of a sentence; empty where it is."""
    if find_spec("sageattention") is None:
        return (
            "sageattention is not installed; install it beside torch and triton (pip install sageattention)"
        )
    return ""


def has_bf16() -> bool:
    """Whether torch has kernels in bf16 for this processor; without them it is far slower than in fp32."""
    import torch

    kernels: Any = torch.backends.mkldnn  # oneDNN, whose they are
    if not kernels.is_available():
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - inductor asks it too


def refuse_slow_bf16(options: Options) -> None:
    """Raises `BuildError` where bf16 is wanted of a processor without it: fp32 is what it does quickest."""
    if options.precision == "bf16" and options.device == "cpu" and not has_bf16():
        raise BuildError("this CPU has no bf16 instructions, and torch would compute it slower than fp32")


def within(component: Component, ways: TorchWays) -> Component:
    """The component, called with the kernel and the products that are asked for."""
    if ways.attention == "auto" and not ways.tf32:
        return component

    def call(inputs: Arrays) -> Arrays:
        with ExitStack() as stack:
            if ways.tf32:
                stack.enter_context(_tf32())
            if ways.attention != "auto":
                stack.enter_context(_attention(ways))
            return component(inputs)

    return call


@contextmanager
def _tf32() -> Iterator[None]:
    import torch

    cudnn: Any = torch.backends.cudnn  # whose attributes torch's types do not know
    products: tuple[Any, ...] = (torch.backends.cuda.matmul, cudnn.conv)
    before = [one.fp32_precision for one in products]
    try:
        for one in products:
            one.fp32_precision = "tf32"
        yield
    finally:
        for one, value in zip(products, before, strict=True):
            one.fp32_precision = value


@contextmanager
def _attention(ways: TorchWays) -> Iterator[None]:
    if (own := _own_kernel(ways)) is not None:
        with _instead_of_torch(own) as met:
            yield
        if not met["own"]:
            raise BuildError(
                f"none of its {met['torch']} attention layers is one for {own.name}, which has heads of "
                f"{', '.join(map(str, own.heads))} and no mask"
            )
        return
    wanted = ways.attention
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(getattr(SDPBackend, KERNELS[wanted])):
        yield


@dataclass(frozen=True, slots=True)
class _Kernel:
    """An attention kernel that is not torch's."""

    name: str
    heads: tuple[int, ...]
    """Sizes of heads that it is written for."""
    causal: bool
    """Whether it has a causal mask."""
    run: Callable[..., torch.Tensor]
    """Of query, key and value as they lie in memory, (B, H, N, D), a causal mask and a scale."""

    def fits(self, given: dict[str, Any]) -> bool:
        return (
            given.get("attn_mask") is None
            and not given.get("dropout_p")
            and not given.get("enable_gqa")
            and (self.causal or not given.get("is_causal"))
            and given["query"].shape[-1] in self.heads
        )


def _own_kernel(ways: TorchWays) -> _Kernel | None:
    """What takes the place of torch's attention, if anything does."""
    if ways.attention == "sage":
        sage: Any = importlib.import_module("sageattention")

        def sageattn(*states: torch.Tensor, causal: bool, scale: float | None) -> torch.Tensor:
            found: torch.Tensor = sage.sageattn(
                *states, tensor_layout="HND", is_causal=causal, sm_scale=scale
            )
            return found

        return _Kernel("SageAttention", SAGE_HEADS, causal=True, run=sageattn)
    if ways.attention == "skip":
        from engines.backends.triton_attention import HEADS, skipping

        def skip(
            query: torch.Tensor,
            key: torch.Tensor,
            value: torch.Tensor,
            *,
            causal: bool,  # noqa: ARG001 - never, as it has none
            scale: float | None,
        ) -> torch.Tensor:
            return skipping(query, key, value, scale, ways.skip)

        return _Kernel("the kernel that skips", HEADS, causal=False, run=skip)
    return None


@contextmanager
def _instead_of_torch(kernel: _Kernel) -> Iterator[dict[str, int]]:
    """Attention goes to `kernel` where it can; how often it did and did not."""
    import torch
    from torch.overrides import TorchFunctionMode

    attention: Any = torch.nn.functional.scaled_dot_product_attention
    met = {"own": 0, "torch": 0}

    class Exchange(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            named = dict(kwargs or {})
            if func is not attention:
                return func(*args, **named)
            given = dict(
                zip(("query", "key", "value", "attn_mask", "dropout_p", "is_causal"), args, strict=False)
            )
            given |= named
            if not kernel.fits(given):
                met["torch"] += 1
                return func(*args, **named)
            met["own"] += 1
            states = (given[name].contiguous() for name in ("query", "key", "value"))
            return kernel.run(*states, causal=bool(given.get("is_causal")), scale=given.get("scale"))

    with Exchange():
        yield met


def cast_layers(module: torch.nn.Module, dtype: torch.dtype) -> int:
    """Keep weights as 8-bit floats and widen each layer's to `dtype` while it runs; how many are kept so.

    Norms, positions and the first and last projections stay as they are, as diffusers has it.

    Raises:
        BuildError: there is no layer that could be.
    """
    import torch
    from diffusers.hooks import apply_layerwise_casting

    apply_layerwise_casting(module, storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
    narrow = sum(one.dtype == torch.float8_e4m3fn for one in module.parameters())
    if not narrow:
        raise BuildError("it has no layer whose weights could be kept in 8 bits")
    return narrow


def offload_groups(module: torch.nn.Module, device: str) -> None:
    """Layers come to the device one after the other, the next while one computes, and leave it again."""
    import torch
    from diffusers.hooks import apply_group_offloading

    apply_group_offloading(
        module,
        onload_device=torch.device(device),
        offload_device=torch.device("cpu"),
        offload_type="leaf_level",
        use_stream=device == "cuda",
    )


class _Seat:
    """The one module whose weights are on a device."""

    def __init__(self) -> None:
        self._taken: weakref.ref[torch.nn.Module] | None = None

    def take(self, module: torch.nn.Module, device: str) -> None:
        there = None if self._taken is None else self._taken()
        if there is module:
            return
        if there is not None:
            there.to("cpu")
        module.to(device)
        self._taken = weakref.ref(module)


_SEATS: Final[defaultdict[str, _Seat]] = defaultdict(_Seat)


def seated(module: torch.nn.Module, device: str, component: Component) -> Component:
    """The component, whose module comes to the device when it is called and stays until another is."""

    def call(inputs: Arrays) -> Arrays:
        _SEATS[device].take(module, device)
        return component(inputs)

    return call
