"""What a script's process did to itself and how it calculates: evidence for whoever judges it.

It runs in the script's own process, so it proves nothing: proof is pictures,
time and memory seen from outside.  It costs a careless cheat its cover and
tells an honest author what to declare.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from inspect import getattr_static
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Final

_MODULES: Final = (
    "builtins", "time", "json", "threading", "numpy", "PIL.Image", "torch", "torch.nn.functional",
    "engines.harness", "engines.census", "engines.pipeline", "engines.workload", "engines.hostloop.loop",
    "engines.hostloop.noise", "engines.hostloop.conditions", "engines.hostloop.schedulers",
    "engines.models.load", "engines.backends.base",
)  # fmt: skip
"""Modules whose functions and classes a script may call and not replace."""
_CLASSES: Final = ("torch.Tensor", "torch.nn.Module", "numpy.ndarray")
_HEAVY: Final = (
    "convolution",
    "mm",
    "addmm",
    "bmm",
    "baddbmm",
    "linear",
    "scaled_dot_product",
    "matmul",
    "conv",
)
"""Operators that hold nearly all arithmetic, by part of their name."""


class Originals:
    """Functions of the modules above as they were before a script came; made when the harness starts."""

    def __init__(self) -> None:
        self._kept = dict(_functions())

    def patched(self) -> list[str]:
        """Names of functions and methods that are no longer what they were."""
        now = dict(_functions())
        return sorted(
            name for name, was in self._kept.items() if name in now and now[name] is not was
        ) + sorted(name for name in self._kept if name not in now)


def _functions() -> Iterator[tuple[str, Any]]:
    for name in _MODULES:
        module = sys.modules.get(name)
        if isinstance(module, ModuleType):
            for key, value in list(vars(module).items()):
                if callable(value):
                    yield f"{name}.{key}", value
                if isinstance(value, type) and value.__module__ == name and name.startswith("engines."):
                    yield from _methods(f"{name}.{key}", value)
    for name in _CLASSES:
        module_name, _, key = name.rpartition(".")
        owner = getattr(sys.modules.get(module_name), key, None)
        if isinstance(owner, type):
            # inherited ones too: a patch on the class hides what its base has
            for method in dir(owner):
                value = getattr_static(owner, method, None)
                if callable(value) or isinstance(value, property):
                    yield f"{name}.{method}", value


def _methods(name: str, owner: type) -> Iterator[tuple[str, Any]]:
    for key, value in list(vars(owner).items()):
        if isinstance(value, FunctionType | BuiltinFunctionType | property | staticmethod | classmethod):
            yield f"{name}.{key}", value


def take(draw: Callable[[], object], originals: Originals, pipeline: object) -> dict[str, Any]:
    """Count what one `draw` does in torch.

    `flops` (nominal, torch's own count), `dtypes` (calls of heavy operators by
    the type they calculate in), `sides` (calls of convolutions by the height
    of what they take), `threads`, `patched`, and the `engines` and precisions
    that a pipeline of `engines` has loaded.
    """
    found: dict[str, Any] = {
        "flops": 0.0, "dtypes": {}, "sides": {}, "patched": originals.patched(),
        "threads": threading.active_count(), "engines": _engines(pipeline),
    }  # fmt: skip
    if "torch" in sys.modules:
        found |= _in_torch(draw)
    else:
        draw()
    found["patched"] = sorted({*found["patched"], *originals.patched()})
    return found


def _in_torch(draw: Callable[[], object]) -> dict[str, Any]:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import FlopCounterMode

    dtypes: Counter[str] = Counter()
    sides: Counter[int] = Counter()

    class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = str(func)
            if any(part in name for part in _HEAVY):
                tensors = [one for one in args if isinstance(one, torch.Tensor)]
                if tensors:
                    kinds = {str(one.dtype).removeprefix("torch.") for one in tensors}
                    narrow = sorted(kinds - {"float32", "float64"}) or sorted(kinds)
                    dtypes[narrow[0]] += 1
                if "conv" in name and tensors and tensors[0].ndim == 4:
                    sides[int(tensors[0].shape[2])] += int(tensors[0].shape[0])
            return func(*args, **(kwargs or {}))

    counter = FlopCounterMode(display=False)
    with counter, _Watch():  # type: ignore[no-untyped-call]
        draw()
    return {
        "flops": float(counter.get_total_flops()),
        "dtypes": dict(dtypes),
        "sides": {str(side): count for side, count in sides.items()},
    }


def _engines(pipeline: object) -> dict[str, str]:
    """`component: engine precision` of a pipeline of `engines`; empty for others."""
    pipelines = importlib.import_module("engines.pipeline")
    if not isinstance(pipeline, pipelines.Pipeline):
        return {}
    return {
        request.structure.component: f"{request.backend} {request.precision}"
        for request in pipelines.engines(pipeline.plan)
    }
