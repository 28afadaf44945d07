"""A TensorRT-RTX plan as a component; travels inside a package (numpy and `tensorrt_rtx`).

A plan opens in the very version that built it, on the generations of cards that it was built for; its header
says so without a card, and is asked before anything is deserialised.  Memory on the card comes from the
driver itself (CUDA driver API), so that neither torch nor CUDA's own wheels are needed.

Not verified on a device: no card has run it from a package yet.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.errors import PackageError

Arrays = dict[str, NDArray[Any]]
_DRIVER: Final = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


class Driver:
    """What of NVIDIA's driver is needed: the first card's own context, and memory on it.

    Raises:
        PackageError: there is no driver, no card, or one of the calls fails.
    """

    def __init__(self, library: str = _DRIVER) -> None:
        try:
            self._library = ctypes.CDLL(library)
        except OSError:
            raise PackageError(
                f"There is no NVIDIA driver ({library} was not found); install it, or run another variant."
            ) from None
        self("cuInit", ctypes.c_uint(0))
        card, context = ctypes.c_int(), ctypes.c_void_p()
        self("cuDeviceGet", ctypes.byref(card), ctypes.c_int(0))
        self("cuDevicePrimaryCtxRetain", ctypes.byref(context), card)  # TensorRT's own is the same one
        self._context = context
        self.enter()
        stream = ctypes.c_void_p()
        self(
            "cuStreamCreate", ctypes.byref(stream), ctypes.c_uint(0)
        )  # graphs are not captured on the default
        self.stream = stream

    def __call__(self, function: str, *arguments: Any) -> None:
        status = getattr(self._library, function)(*arguments)
        if status:
            raise PackageError(
                f"The NVIDIA driver refused {function} (error {status}); close what else uses the card."
            )

    def enter(self) -> None:
        """Calls of this thread are for the card."""
        self("cuCtxSetCurrent", self._context)


class Memory:
    """Bytes on the card, kept from call to call, and made larger where more are asked for."""

    def __init__(self, driver: Driver) -> None:
        self._driver, self._size = driver, 0
        self.address = ctypes.c_uint64(0)

    def reserve(self, size: int) -> int:
        """The address of at least so many bytes."""
        if size > self._size:
            self.free()
            self._driver("cuMemAlloc_v2", ctypes.byref(self.address), ctypes.c_size_t(size))
            self._size = size
        return int(self.address.value)

    def put(self, value: NDArray[Any]) -> int:
        at = self.reserve(value.nbytes)
        size = ctypes.c_size_t(value.nbytes)
        self._driver("cuMemcpyHtoD_v2", self.address, ctypes.c_void_p(value.ctypes.data), size)
        return at

    def take(self, value: NDArray[Any]) -> None:
        """Fill an array from the card."""
        size = ctypes.c_size_t(value.nbytes)
        self._driver("cuMemcpyDtoH_v2", ctypes.c_void_p(value.ctypes.data), self.address, size)

    def free(self) -> None:
        if self._size:
            self._driver("cuMemFree_v2", self.address)
            self._size = 0


def open_plan(path: Path) -> Callable[[Arrays], Arrays]:
    """A plan as a function from arrays to arrays; larger batches than it knows are computed in pieces.

    Raises:
        ImportError: `tensorrt_rtx` is not installed.
        PackageError: this machine's version, card or driver cannot open it; which of them is said.
    """
    trt: Any = importlib.import_module("tensorrt_rtx")
    content = path.read_bytes()
    log = _logger(trt)
    runtime = trt.Runtime(log)
    state, found = runtime.get_engine_validity(content)
    if state.name == "INVALID":
        names = trt.EngineInvalidityDiagnostics.__members__.items()
        reasons = [name for name, one in names if int(one) and int(found) & int(one)]
        why = f": {', '.join(reasons)}" if reasons else ", which has no card that it was built for"
        raise PackageError(
            f"{path.name} cannot be opened by TensorRT-RTX {trt.__version__} on this machine{why}; export it "
            "again for this machine, or run another variant."
        )
    driver = Driver()
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise PackageError(f"TensorRT-RTX refuses {path.name} ({log.first()}); run another variant.")
    return _Plan(trt, log, driver, engine)


def _logger(trt: Any) -> Any:
    """One that keeps errors: TensorRT returns nothing and logs the reason."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(" ".join(text.split()))

        def first(self) -> str:
            return self.errors[0][:200].rstrip(".") if self.errors else "it gives no reason"

    return Log()


class _Plan:
    def __init__(self, trt: Any, log: Any, driver: Driver, engine: Any) -> None:
        self._log, self._driver, self._engine = log, driver, engine
        names = [engine.get_tensor_name(at) for at in range(engine.num_io_tensors)]
        self._inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self._outputs = [name for name in names if name not in self._inputs]
        self._largest = min(int(engine.get_tensor_profile_shape(name, 0)[2][0]) for name in self._inputs)
        self._dtypes = {name: np.dtype(trt.nptype(engine.get_tensor_dtype(name))) for name in names}
        config = engine.create_runtime_config()
        config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE  # as while it was measured
        self._context = engine.create_execution_context(config)
        self._memory = {name: Memory(driver) for name in names}

    def __call__(self, arrays: Arrays) -> Arrays:
        self._driver.enter()
        count = len(arrays[self._inputs[0]])
        pieces = [
            self._run({name: arrays[name][at : at + self._largest] for name in self._inputs})
            for at in range(0, count, self._largest)
        ]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in self._outputs}

    def _run(self, arrays: Arrays) -> Arrays:
        for name in self._inputs:
            value = np.ascontiguousarray(arrays[name], dtype=self._dtypes[name])
            if not self._context.set_input_shape(name, value.shape):
                raise PackageError(
                    f"The plan was not built for {name} of the shape {value.shape}; report this."
                )
            self._context.set_tensor_address(name, self._memory[name].put(value))
        made: Arrays = {}
        for name in self._outputs:
            made[name] = np.empty(tuple(self._context.get_tensor_shape(name)), dtype=self._dtypes[name])
            self._context.set_tensor_address(name, self._memory[name].reserve(made[name].nbytes))
        if not self._context.execute_async_v3(self._driver.stream.value):
            raise PackageError(f"TensorRT-RTX failed on the card ({self._log.first()}); run another variant.")
        self._driver("cuStreamSynchronize", self._driver.stream)
        for name, value in made.items():
            self._memory[name].take(value)
        return {name: value.astype(np.float32, copy=False) for name, value in made.items()}
