"""What a script's process did to itself and how it calculates: evidence for whoever judges it.

While one request is drawn, torch's own observer (`ExecutionTraceObserver`,
C++ below every Python function, all threads, with shapes and types) writes each
operation into a file that the judge named, which is a pipe to it where the
system has them: what was written cannot be taken back, and arrives on the
judge's clock.  Calls of known components are marked in between.

The observer runs in the script's own process, which could switch it off or
write lines of its own; what the judge makes of that is in
`agent.evaluate.census`.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from inspect import getattr_static
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Final

from engines import counted
from engines.counted import Key, shape_of

_MODULES: Final = (
    "builtins", "time", "json", "threading", "numpy", "PIL.Image", "torch", "torch.nn.functional",
    "engines.harness", "engines.census", "engines.counted", "engines.pipeline", "engines.workload",
    "engines.hostloop.loop", "engines.hostloop.noise", "engines.hostloop.conditions",
    "engines.hostloop.schedulers", "engines.models.load", "engines.backends.base",
)  # fmt: skip
"""Modules whose functions and classes a script may call and not replace."""
_CLASSES: Final = ("torch.Tensor", "torch.nn.Module", "numpy.ndarray")
_SESSIONS: Final = (
    ("openvino", "InferRequest", ("infer", "start_async")),
    ("openvino", "CompiledModel", ("infer_new_request",)),
    ("onnxruntime", "InferenceSession", ("run",)),
)
"""Where other runtimes are asked by scripts that use them directly: module, class, methods."""


Pictures = Any
"""What a script drew, as the harness has checked it."""


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


def take(
    draw: Callable[[], Pictures], originals: Originals, pipeline: object, trace: str, seal: str
) -> tuple[dict[str, Any], Pictures]:
    """Draw once while torch writes what it does to the file `trace`; what was found, and what was drawn.

    `seal` is the judge's word of this request: written first and last, it shows that nothing ended the trace.

    `components` (calls by component, shape and engine), `threads`, `patched`, and the `engines` and
    precisions that a pipeline of `engines` has loaded.
    """
    found: dict[str, Any] = {
        "patched": originals.patched(), "threads": threading.active_count(), "engines": _engines(pipeline),
    }  # fmt: skip
    counted.clear()
    if "torch" in sys.modules:
        with _written_down(trace, seal), _modules_marked(), _sessions_marked():
            drawn = draw()
    else:
        drawn = draw()
    found["components"] = counted.told()
    found["patched"] = sorted({*found["patched"], *originals.patched()})
    return found, drawn


@contextmanager
def _written_down(path: str, seal: str) -> Iterator[None]:
    from torch.profiler import ExecutionTraceObserver, record_function

    observer = ExecutionTraceObserver()
    observer.register_callback(path)
    observer.start()
    try:
        with record_function(f"{counted.MARK}|{seal}"):
            pass
        with counted.marking(record_function):
            yield
        with record_function(f"{counted.MARK}|{seal}"):
            pass
    finally:
        observer.stop()
        observer.unregister_callback()


@contextmanager
def _modules_marked() -> Iterator[None]:
    """Denoisers and decoders of diffusers, whoever calls them, by torch's hooks for every module."""
    from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

    # Networks hold networks of the same base; what is called inside a counted call is part of it.
    under_way = threading.local()

    def before(module: Any, given: tuple[Any, ...]) -> None:
        kind = _kind_of(module)
        if not kind or not given:
            return
        if not hasattr(under_way, "calls"):
            under_way.calls = []
        dtype = str(getattr(given[0], "dtype", "")).removeprefix("torch.")
        call = counted.called(
            Key(kind, shape_of(given[0]), f"torch {_SHORT.get(dtype, dtype)}"), len(given[0])
        )
        call.__enter__()
        under_way.calls.append((module, call))

    def after(module: Any, _given: Any, _made: Any) -> None:
        calls = getattr(under_way, "calls", [])
        if calls and calls[-1][0] is module:
            calls.pop()[1].__exit__(None, None, None)

    handles = (
        register_module_forward_pre_hook(before),
        register_module_forward_hook(after, always_call=True),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


_SHORT: Final = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def _kind_of(module: Any) -> str:
    """`denoiser` or `decoder` of a network of diffusers; empty for any other and for their parts."""
    kind = type(module)
    if not kind.__module__.startswith("diffusers.models."):
        return ""
    if kind.__name__ in ("Decoder", "DecoderTiny"):
        return "decoder"
    base = getattr(sys.modules.get("diffusers.models.modeling_utils"), "ModelMixin", None)
    whole = base is not None and isinstance(module, base)
    return "denoiser" if whole and "Autoencoder" not in kind.__name__ else ""


@contextmanager
def _sessions_marked() -> Iterator[None]:
    """Other runtimes' calls, outside the components that are counted by themselves."""
    with ExitStack() as undo:
        for module, name, methods in _SESSIONS:
            owner = getattr(sys.modules.get(module), name, None)
            for method in methods:
                defines = next((one for one in getattr(owner, "__mro__", ()) if method in vars(one)), None)
                kept = None if defines is None else vars(defines)[method]
                if isinstance(kept, FunctionType):
                    setattr(defines, method, _marked(kept, module))
                    undo.callback(setattr, defines, method, kept)
        yield


def _marked(method: FunctionType, runtime: str) -> Callable[..., Any]:
    @wraps(method)
    def call(*given: Any, **named: Any) -> Any:
        arrays = list(_arrays((given[1:], named)))
        largest = max(arrays, key=lambda one: one.ndim, default=None)
        rows = len(largest) if largest is not None and largest.ndim else 1
        with counted.called(Key("network", shape_of(largest), runtime), rows):
            return method(*given, **named)

    return call


def _arrays(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from _arrays(one)
    elif hasattr(value, "ndim") and hasattr(value, "shape"):
        yield value


def _engines(pipeline: object) -> dict[str, str]:
    """`component: engine precision` of a pipeline of `engines`; empty for others."""
    pipelines = importlib.import_module("engines.pipeline")
    if not isinstance(pipeline, pipelines.Pipeline):
        return {}
    return {
        request.structure.component: f"{request.backend} {request.precision}"
        for request in pipelines.engines(pipeline.plan)
    }
