"""A program and its weights as a function of arrays; what depends on no input is computed once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.backends.mlx_graph.array import DTYPES, Kernel, Picture, Quantised, is_array, mx, plain
from engines.backends.mlx_graph.operators import table
from engines.backends.mlx_graph.program import Constant, Node, Program, references

PROGRAM: Final = "program.json"
WEIGHTS: Final = "weights.safetensors"

Arrays = dict[str, NDArray[Any]]
FLOATS: Final = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}


class Graph:
    """Callable with MLX arrays in the program's order; computes eagerly unless wrapped in `mx.compile`."""

    def __init__(self, program: Program, weights: dict[str, Any]) -> None:
        self._program = program
        self._names = [f"in:{name}" for name in program.inputs]
        self._operators = table()
        self._constants = {name: _constant(weights, constant) for name, constant in program.constants.items()}
        self._nodes = self._folded()

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        values = dict(self._constants)
        values |= dict(zip(self._names, inputs, strict=True))
        for node in self._nodes:
            values[node.name] = self._compute(node, values)
        return tuple(plain(_value(output, values)) for output in self._program.outputs)

    def _folded(self) -> list[Node]:
        """The nodes that depend on an input; the others become constants."""
        changing, rest, folded = set(self._names), [], []
        for node in self._program.nodes:
            if any(name in changing for name in references([node.arguments, node.named])):
                changing.add(node.name)
                rest.append(node)
            else:
                self._constants[node.name] = found = self._compute(node, self._constants)
                folded += [one.array if isinstance(one, Picture) else one for one in _flat(found)]
        mx.eval([one for one in folded if is_array(one)])
        return rest

    def _compute(self, node: Node, values: dict[str, Any]) -> Any:
        arguments = [_value(one, values) for one in node.arguments]
        named = {name: _value(one, values) for name, one in node.named.items()}
        try:
            found = self._operators[node.operator](arguments, named)
        except KeyError:
            raise ValueError(f"MLX has no function for {node.operator}{_in(node.place)}") from None
        except Exception as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{node.operator}{_in(node.place)} failed: {reason}") from error
        wanted = DTYPES.get(node.dtype)
        if wanted is not None and (is_array(found) or isinstance(found, Picture)) and found.dtype != wanted:
            return found.astype(wanted)
        return found


def _in(place: str) -> str:
    return f" (in {place})" if place else ""


def _flat(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple | list) else [value]


def _constant(weights: dict[str, Any], constant: Constant) -> Any:
    array = weights[constant.tensor]
    if constant.kind == "kernel":
        return Kernel(array)
    if constant.kind == "quantised":
        scales, biases = weights[f"{constant.tensor}.scales"], weights[f"{constant.tensor}.biases"]
        return Quantised(array, scales, biases, constant.group, constant.bits)
    return array


def _value(argument: Any, values: dict[str, Any]) -> Any:
    if isinstance(argument, dict):
        if "ref" in argument:
            return values[argument["ref"]]
        if "dtype" in argument:
            return DTYPES[argument["dtype"]]
        return FLOATS[argument["float"]]
    if isinstance(argument, list):
        return [_value(one, values) for one in argument]
    return argument


def compiled() -> bool:
    """Whether the graph is fused: on a GPU.  On a CPU MLX would start a C++ compiler for each fused piece."""
    return bool(mx.default_device() == mx.Device(mx.gpu))


def open_folder(folder: Path, outputs: list[str] | None = None) -> Callable[[Arrays], Arrays]:
    """A component from `program.json` and `weights.safetensors`; `outputs` instead of the program's names.

    Raises:
        ValueError, OSError, RuntimeError: a file is missing, damaged or of another format.
    """
    program = Program.read(folder / PROGRAM)
    names = outputs or program.names
    # Arrays from a file are read when first used, and the file may be gone by then.
    weights = mx.load(str(folder / WEIGHTS))
    mx.eval(weights)
    graph = Graph(program, weights)
    function = mx.compile(graph) if compiled() else graph

    def component(inputs: Arrays) -> Arrays:
        found = function(*(mx.array(np.ascontiguousarray(inputs[name])) for name in program.inputs))
        floats = [value.astype(mx.float32) for value in found]
        mx.eval(floats)
        return {name: np.array(value) for name, value in zip(names, floats, strict=True)}

    return component
