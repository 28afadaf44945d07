"""A captured program as plain values, back to a torch module; travels inside a package (torch, safetensors).

`torch.export.save` pickles its sample inputs, and reading its graph evaluates
text.  Here a file is data: `graph.json` names ATen's operators and a few of
Python's, the words it may hold are listed, every name in the program that
torch makes of it is our own, and the weights are safetensors.  Weights that
torchao quantised lie there as they were measured, values and scales, and
torchao's own reader makes them its tensors again.
"""

from __future__ import annotations

import importlib
import json
import math
import operator
import re
from pathlib import Path
from typing import Any, Final

import torch
from torch import fx

GRAPH: Final = "graph.json"
WEIGHTS: Final = "weights.safetensors"
FORMAT: Final = 1
QUANTISED: Final = "quantised"
"""In a graph with weights of torchao's: its version, and by weight what its reader is told of it."""
KINDS: Final = frozenset({"Int8Tensor", "Float8Tensor"})
"""Classes of torchao's that a weight may be."""
PYTHON: Final[dict[str, Any]] = {
    **{
        f"operator.{name}": getattr(operator, name)
        for name in (
            "add", "sub", "mul", "truediv", "floordiv", "mod", "neg", "pow", "getitem", "eq", "ne", "lt",
            "le", "gt", "ge",
        )
    },
    **{f"math.{name}": getattr(math, name) for name in ("ceil", "floor", "trunc")},
    **{f"torch.{name}": getattr(torch, name) for name in ("sym_float", "sym_int", "sym_max", "sym_min")},
}  # fmt: skip
"""Arithmetic with sizes."""
WORDS: Final = frozenset([
    "none", "tanh", "floor", "trunc", "constant", "reflect", "replicate", "circular", "zeros", "border",
    "mean", "sum", "max", "nearest", "bilinear", "bicubic", "right", "left",
])  # fmt: skip
"""Texts that an operator may be given, beside the equations of `einsum`; none is the name of a file."""
_EQUATION: Final = re.compile(r"[A-Za-z,]+->[A-Za-z]*")
FLOATS: Final = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def is_word(text: str) -> bool:
    """Whether a graph may hold this text."""
    return text in WORDS or _EQUATION.fullmatch(text) is not None


class Graph(torch.nn.Module):
    """The program as a module that torch can compile: tensors in the order of `inputs`, a tuple back."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        """
        Raises:
            ValueError, OSError: a file is missing, damaged, of another format, or calls what it must not.
            ImportError: its weights are torchao's, and torchao is not there.
        """
        from safetensors.torch import load_file

        super().__init__()
        try:
            said = json.loads((folder / GRAPH).read_text(encoding="utf-8"))
            if said["format"] != FORMAT:
                raise ValueError(f"{GRAPH} has format {said['format']}, not {FORMAT}")
            self.inputs = [str(name) for name in said["inputs"]]
            self.outputs = [str(name) for name in said["names"]]
            weights = load_file(folder / WEIGHTS, device=device)
            if QUANTISED in said:
                weights = _with_quantised(weights, said[QUANTISED]["weights"])
            self.network: Any = _module(said, weights, device)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{GRAPH} is no graph ({error})") from None

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found: tuple[torch.Tensor, ...] = self.network(*given)
        return found


def _with_quantised(weights: dict[str, torch.Tensor], said: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Values and scales become torchao's tensors; its reader knows a few classes and evaluates nothing."""
    if unknown := sorted({str(one["_type"]) for one in said.values()} - KINDS):
        raise ValueError(f"a weight may not be {unknown[0]}")
    support: Any = importlib.import_module("torchao.prototype.safetensors.safetensors_support")
    facts = {name: json.dumps(one) for name, one in said.items()} | {"tensor_names": json.dumps(list(said))}
    found, others = support.unflatten_tensor_state_dict(weights, facts)
    return {**others, **found}


def _module(said: dict[str, Any], weights: dict[str, torch.Tensor], device: str) -> fx.GraphModule:
    graph, root = fx.Graph(), torch.nn.Module()
    values: dict[str, fx.Node] = {}
    for at, name in enumerate(said["inputs"]):
        values[f"in:{name}"] = graph.placeholder(f"given_{at}")
    places = {tensor: f"weight_{at}" for at, tensor in enumerate(sorted(weights))}
    for tensor, place in places.items():
        root.register_buffer(place, weights[tensor])
    for name, tensor in said["constants"].items():
        values[name] = graph.get_attr(places[tensor])
    narrow = [
        {"ref": name} for name, one in said["constants"].items() if type(weights[one]).__name__ in KINDS
    ]
    for node in said["nodes"]:
        arguments = tuple(_value(one, values, device) for one in node["args"])
        named = {str(key): _value(one, values, device) for key, one in node["named"].items()}
        function = _function(node["operator"])
        if function is torch.ops.aten.linear.default and node["args"][1] in narrow:
            function = (
                torch.nn.functional.linear
            )  # the same; of torchao's tensors the compiler knows this one
        values[node["name"]] = graph.call_function(function, arguments, named)
    graph.output(tuple(_value(one, values, device) for one in said["outputs"]))
    return fx.GraphModule(root, graph)


def _function(name: str) -> Any:
    """Raises `ValueError` for what is no operator of a graph."""
    if name in PYTHON:
        return PYTHON[name]
    space, _, rest = name.partition(".")
    packet, _, overload = rest.partition(".")
    found = None
    if space == "aten" and packet.isidentifier() and overload.isidentifier() and overload[0] != "_":
        found = getattr(getattr(torch.ops.aten, packet, None), overload, None)
    if not isinstance(found, torch._ops.OpOverload):  # noqa: SLF001 - the class has no public name
        raise ValueError(f"torch {torch.__version__} has no operator {name}")
    return found


def _value(value: Any, values: dict[str, fx.Node], device: str) -> Any:
    if isinstance(value, list):
        return [_value(one, values, device) for one in value]
    if isinstance(value, str) and not is_word(value):
        raise ValueError(f"a graph may not hold the word {value[:40]!r}")
    if not isinstance(value, dict):
        return value
    ((kind, what),) = value.items()
    match kind:
        case "ref":
            return values[what]
        case "dtype" | "memory":
            found = getattr(torch, what)
            if not isinstance(found, torch.dtype | torch.memory_format):
                raise ValueError(f"{what} is no type")
            return found
        case "device":
            return torch.device(device)
        case "float":
            return FLOATS[what]
    raise ValueError(f"a graph holds no {kind}")
