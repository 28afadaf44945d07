"""How much of this machine's memory a process may take, by what it is for."""

from __future__ import annotations

from typing import Final

MIB: Final = 2**20
USUAL: Final = 8192
"""MiB that any candidate may take: libraries, activations, and a model of some hundred MiB."""


def candidates_memory(weights: int, total: int | None = None) -> int:
    """MiB for one candidate of a model whose weights take so many bytes in fp32.

    Half as much again as the weights, and beside them what any candidate may take; never more than 70 % of
    the machine's `total` bytes.
    """
    return int(min(USUAL + 1.5 * weights / MIB, 0.7 * _total(total)))


def builders_memory(total: int | None = None) -> int:
    """MiB for building engines: trusted code, which holds a component several times over as it converts."""
    return int(0.85 * _total(total))


def _total(given: int | None) -> float:
    import psutil

    return (given or psutil.virtual_memory().total) / MIB
