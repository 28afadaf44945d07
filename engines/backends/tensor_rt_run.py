"""An engine as a function from arrays to arrays; torch holds the memory on the card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.backends.tensor_rt_build import logger, validity
from engines.backends.tensor_rt_names import module, runtime_config
from engines.errors import BuildError

Arrays = dict[str, NDArray[Any]]


class TensorRtComponent:
    """Opens an engine; batches beyond the profile are computed in pieces.

    Raises:
        BuildError: this machine's driver, card or TensorRT cannot open it; which of them is said.
    """

    def __init__(
        self, path: Path, inputs: Sequence[str], outputs: Sequence[str], largest: int, kernels: Path
    ) -> None:
        content = path.read_bytes()
        header = validity(content)
        if header["state"] == "INVALID":
            raise BuildError(
                f"this machine cannot open it: {', '.join(header['reasons']) or 'no reason given'}"
            )
        trt = module()
        self._log = logger(trt)
        self._runtime = trt.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            reason = self._log.errors[0] if self._log.errors else "no reason given"
            raise BuildError(f"TensorRT refused the engine ({reason[:200]})")
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._largest, self._kernels = largest, kernels
        self._config = runtime_config(trt, self._engine)
        self._cache = self._kept_kernels()
        context = self._engine.create_execution_context
        self._context = context() if self._config is None else context(self._config)
        self._first = True

    def _kept_kernels(self) -> Any:
        """TensorRT-RTX compiles on the card, seconds to half a minute; what it made is kept."""
        if self._config is None or not hasattr(self._config, "create_runtime_cache"):
            return None
        cache = self._config.create_runtime_cache()
        if self._kernels.is_file():
            cache.deserialize(self._kernels.read_bytes())
        self._config.set_runtime_cache(cache)
        return cache

    def __call__(self, inputs: Arrays) -> Arrays:
        count = len(inputs[self._inputs[0]])
        pieces = [
            self._run({name: inputs[name][at : at + self._largest] for name in self._inputs})
            for at in range(0, count, self._largest)
        ]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in self._outputs}

    def _run(self, inputs: Arrays) -> Arrays:
        import torch

        stream = torch.cuda.current_stream()
        held = {}
        for name in self._inputs:
            tensor = torch.from_numpy(np.ascontiguousarray(inputs[name])).to("cuda", non_blocking=True)
            held[name] = tensor
            if not self._context.set_input_shape(name, tuple(tensor.shape)):
                raise BuildError(
                    f"the shape {tuple(tensor.shape)} of {name} lies outside the engine's profile"
                )
            self._context.set_tensor_address(name, tensor.data_ptr())
        for name in self._outputs:
            shape = tuple(self._context.get_tensor_shape(name))
            held[name] = torch.empty(shape, dtype=torch.float32, device="cuda")
            self._context.set_tensor_address(name, held[name].data_ptr())
        if not self._context.execute_async_v3(stream.cuda_stream):
            reason = self._log.errors[-1] if self._log.errors else "no reason given"
            raise BuildError(f"the engine failed on the GPU ({reason[:200]})")
        found = {name: held[name].cpu().numpy() for name in self._outputs}
        if self._first and self._cache is not None:
            self._first = False
            partial = self._kernels.with_suffix(".partial")
            partial.write_bytes(bytes(self._cache.serialize()))
            partial.replace(self._kernels)
        return found
