"""The table of operators, filled by one module for each group of them.

A function takes what the ATen operator takes, in its order, and returns arrays.
How it wants pictures is part of its entry:

    plain      as (B, C, H, W)
    pointwise  all in one layout, whichever; the result keeps it
    own        as they come
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, TypeVar

from engines.backends.mlx_graph.array import CHANNELS_LAST, Picture, is_array, plain

Layout = Literal["plain", "pointwise", "own"]
Function = TypeVar("Function", bound=Callable[..., Any])

GROUPS: Final = (
    "arithmetic",
    "attention",
    "convolution",
    "creation",
    "indexing",
    "linear",
    "normalisation",
    "reduction",
    "resampling",
    "shaping",
    "symbols",
)
_TABLE: dict[str, Operator] = {}


@dataclass(frozen=True, slots=True)
class Operator:
    """One entry of the table."""

    function: Callable[..., Any]
    layout: Layout

    def __call__(self, arguments: list[Any], named: dict[str, Any]) -> Any:
        if self.layout == "own":
            return self.function(*arguments, **named)
        if self.layout == "pointwise" and _has_picture(arguments):
            return _pointwise(self.function, arguments, named)
        given = {name: plain(value) for name, value in named.items()}
        return self.function(*(plain(value) for value in arguments), **given)


def operator(*names: str, layout: Layout = "plain") -> Callable[[Function], Function]:
    """Enter a function into the table under ATen names such as `aten.add.Tensor`."""

    def enter(function: Function) -> Function:
        for name in names:
            if name in _TABLE:
                raise ValueError(f"{name} stands in the table of operators twice")
            _TABLE[name] = Operator(function, layout)
        return function

    return enter


@cache
def table() -> dict[str, Operator]:
    """Every operator by its name."""
    for group in GROUPS:
        importlib.import_module(f"engines.backends.mlx_graph.{group}")
    return dict(_TABLE)


def _has_picture(arguments: list[Any]) -> bool:
    return any(isinstance(value, Picture) for value in arguments)


def _pointwise(function: Callable[..., Any], arguments: list[Any], named: dict[str, Any]) -> Any:
    if any(is_array(value) and value.ndim > 4 for value in arguments):
        return function(*(plain(value) for value in arguments), **named)
    return Picture(function(*(_channels_last(value) for value in arguments), **named))


def _channels_last(value: Any) -> Any:
    if isinstance(value, Picture):
        return value.array
    if is_array(value) and value.ndim > 0:
        missing = 4 - value.ndim
        return value.reshape((1,) * missing + tuple(value.shape)).transpose(CHANNELS_LAST)
    return value
