"""What the processes of one model may take of this machine, by the size of its weights."""

from __future__ import annotations

from typing import Final

from agent.sandbox.limits import Limits

GIB: Final = 2**30
_TINY: Final = Limits()
"""What suits a model of some hundred MiB, libraries and activations included."""
_BUILD_SECONDS: Final = 1800.0
"""For each GiB of weights: int8 is calibrated by drawing with the whole model."""


def candidates(weights: int, gpu_memory: int = 0, total: int | None = None) -> Limits:
    """Limits of one candidate of a model whose weights take so many bytes in fp32.

    Memory for half as much again as the weights, never more than 70 % of the machine's `total` bytes;
    a minute more to load for each GiB.
    """
    memory = min(_TINY.memory + 1.5 * weights / 2**20, 0.7 * _total(total) / 2**20)
    seconds = _TINY.load_seconds + 60 * weights / GIB
    return Limits(memory=int(memory), load_seconds=seconds, gpu_memory=gpu_memory)


def builders(weights: int = 0, total: int | None = None) -> Limits:
    """Limits of building engines: trusted code, which holds a component several times over meanwhile."""
    return Limits(
        memory=int(0.85 * _total(total) / 2**20),
        load_seconds=_BUILD_SECONDS * max(1.0, weights / GIB),
        file=16 * _TINY.file,
        disk=16 * _TINY.disk,
    )


def _total(given: int | None) -> int:
    import psutil

    return given or int(psutil.virtual_memory().total)
