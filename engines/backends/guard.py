"""Around an engine's call: arrays it was not built for, a device without room, and arrays in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.capture.capture import Capture
from engines.capture.structure import TensorSpec
from engines.errors import WorkloadError
from engines.full_memory import explained, is_full

Arrays = dict[str, NDArray[Any]]
Component = Callable[[Arrays], Arrays]


def fitting(component: Component, capture: Capture) -> Component:
    """The component, refusing arrays that its engine was not built for.

    Raises:
        WorkloadError: an array is missing or has another shape, the batch apart.
    """
    specs: tuple[TensorSpec, ...] = tuple(capture.inputs)

    def checked(inputs: Arrays) -> Arrays:
        for spec in specs:
            given = inputs.get(spec.name)
            if given is None or given.shape[1:] != spec.shape:
                found = "none" if given is None else f"{given.shape[1:]}"
                raise WorkloadError(
                    f"The {capture.component} takes {spec.name} of shape {spec.shape}, not {found}:"
                    " its engine was built for one size; make a plan for the other one."
                )
        try:
            return component(inputs)
        except Exception as error:
            if is_full(error):
                where = f" in the {capture.component} at a batch of {len(next(iter(inputs.values())))}"
                raise WorkloadError(explained(error, where)) from error
            raise

    return checked


def first_line(error: BaseException) -> str:
    """An error's first line, without the full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(".")


def ordered(inputs: Arrays, names: Sequence[str]) -> list[NDArray[Any]]:
    """The arrays in the order of `names`, contiguous."""
    return [np.ascontiguousarray(inputs[name]) for name in names]
