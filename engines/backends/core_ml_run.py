"""A Core ML package as a function from arrays to arrays, on a Mac."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


class CoreMlComponent:
    """Opens the function of a batch when it first occurs; larger batches in pieces of two and one."""

    def __init__(self, path: Path, inputs: Sequence[str], outputs: Sequence[str], units: str) -> None:
        import importlib

        coremltools: Any = importlib.import_module("coremltools")

        self._models = coremltools.models
        self._units = getattr(coremltools.ComputeUnit, units)
        self._path, self._inputs, self._outputs = path, tuple(inputs), tuple(outputs)
        self._open: dict[int, Any] = {}
        self._function(1)

    def _function(self, batch: int) -> Any:
        if batch not in self._open:
            self._open[batch] = self._models.MLModel(
                str(self._path), compute_units=self._units, function_name=f"batch{batch}"
            )
        return self._open[batch]

    def __call__(self, inputs: Arrays) -> Arrays:
        count = len(inputs[self._inputs[0]])
        pieces, at = [], 0
        while at < count:
            size = min(2, count - at)
            given = {name: _known(inputs[name][at : at + size]) for name in self._inputs}
            pieces.append(self._function(size).predict(given))
            at += size
        return {
            name: np.concatenate([np.asarray(piece[name], dtype=np.float32) for piece in pieces])
            for name in self._outputs
        }


def _known(array: NDArray[Any]) -> NDArray[Any]:
    """Core ML has no int64."""
    return np.ascontiguousarray(array.astype(np.int32) if array.dtype == np.int64 else array)
