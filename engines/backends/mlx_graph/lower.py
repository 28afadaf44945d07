"""From a `torch.export` program to nodes over the table of operators.

What MLX has as one function (attention, linear layers, resampling) is kept
whole; everything else is decomposed into core ATen.  An operator that the
table lacks is named with its place in the model.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from engines.backends.lowered import place
from engines.backends.mlx_graph.program import Constant, Kind, Node, Program, references
from engines.capture.structure import LOW_RANK
from engines.errors import BuildError

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram
    from torch.fx import Node as TorchNode

WHOLE: Final = (
    "linear.default", "scaled_dot_product_attention.default", "silu.default", "rms_norm.default",
    "upsample_nearest2d.vec", "upsample_bilinear2d.vec", "pixel_shuffle.default", "pixel_unshuffle.default",
    "matmul.default", "reflection_pad2d.default", "replication_pad2d.default", "softplus.default",
    "leaky_relu.default", "elu.default", "gelu.default", "hardswish.default", "hardsigmoid.default",
    "chunk.default", "_safe_softmax.default", "split.Tensor",
)  # fmt: skip
CHECKS: Final = (
    "_assert_scalar", "_assert_tensor_metadata", "_assert_async", "sym_constrain_range",
    "sym_constrain_range_for_size",
)  # fmt: skip
"""Operators that compute nothing."""
DROPPED: Final = ("device", "layout", "memory_format", "pin_memory", "requires_grad", "non_blocking", "copy")
GROUP: Final = 64
"""Values that share a scale, where a layer's inputs are divided by it; else 32."""


def lower(
    program: ExportedProgram, inputs: Collection[str], known: Collection[str], bits: int = 0
) -> tuple[Program, dict[str, torch.Tensor]]:
    """A program's nodes and its weights, in torch's layouts, by the names that the nodes use.

    Args:
        inputs: the component's names for what the program takes, in its order.
        known: operators in the table.
        bits: of linear layers' weights; 0 leaves them as they are.

    Raises:
        BuildError: an operator is not in the table; the first one is named with its place.
    """
    program = _decomposed(program)
    signature = program.graph_signature
    lifted: dict[str, str] = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    names = dict(zip(signature.user_inputs, (f"in:{name}" for name in inputs), strict=True))
    nodes: list[Node] = []
    outputs: list[Any] = []
    for found in program.graph.nodes:
        if found.op == "call_function" and not _is_check(found):
            nodes.append(_node(found, names, known))
        elif found.op == "output":
            outputs = [_argument(one, names) for one in found.args[0]][-len(signature.user_outputs) :]
        elif found.op == "get_attr":
            raise BuildError(f"it holds a program of its own ({found.name}){_in(place(found))}")
    nodes = _used(nodes, outputs)
    values = {**program.state_dict, **program.constants}
    weights = {name: values[lifted[name]].detach() for name in _constants(nodes, outputs, lifted)}
    forms = {
        name: _form(name, nodes, weights[name], bits, branch=LOW_RANK in lifted[name]) for name in weights
    }
    constants = {name: Constant(lifted[name], *form) for name, form in forms.items()}
    return Program(list(inputs), outputs, nodes, constants), weights


def _decomposed(program: ExportedProgram) -> ExportedProgram:
    import torch

    decompositions: Any = torch.export.default_decompositions()
    for name in WHOLE:
        packet, overload = name.split(".")
        operator = getattr(getattr(torch.ops.aten, packet, None), overload, None)
        if operator is not None:
            decompositions.pop(operator, None)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decomposed: ExportedProgram = program.run_decompositions(decompositions)
    return decomposed


def _is_check(node: TorchNode) -> bool:
    return _name(node).split(".")[-2 if "." in _name(node) else 0] in CHECKS


def _name(node: TorchNode) -> str:
    """`aten.add.Tensor` for operators, `mul` for arithmetic with sizes."""
    import torch

    target: Any = node.target
    if isinstance(target, torch._ops.OpOverload):  # noqa: SLF001 - the class has no public name
        return str(target)
    return str(getattr(target, "__name__", target))


def _in(where: str) -> str:
    return f" (in {where})" if where else ""


def _node(node: TorchNode, names: Mapping[str, str], known: Collection[str]) -> Node:
    name = _name(node)
    where = place(node)
    if name not in known:
        raise BuildError(f"MLX has no function here for {name}{_in(where)}")
    value = node.meta.get("val")
    dtype = str(getattr(value, "dtype", "")).removeprefix("torch.") if hasattr(value, "dtype") else ""
    named = {key: one for key, one in node.kwargs.items() if key not in DROPPED}
    try:
        return Node(
            node.name,
            name,
            [_argument(one, names) for one in node.args],
            {key: _argument(one, names) for key, one in named.items()},
            dtype,
            where,
        )
    except TypeError as error:
        raise BuildError(f"{name}{_in(where)} takes {error}, which MLX does not know") from error


def _argument(value: Any, names: Mapping[str, str]) -> Any:
    import torch

    if isinstance(value, torch.fx.Node):
        return {"ref": names.get(value.name, value.name)}
    if isinstance(value, list | tuple):
        return [_argument(one, names) for one in value]
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, torch.device | torch.layout | torch.memory_format):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(type(value).__name__)


def _used(nodes: list[Node], outputs: list[Any]) -> list[Node]:
    """Only what an output needs."""
    needed = set(references(outputs))
    kept = []
    for node in reversed(nodes):
        if node.name in needed:
            kept.append(node)
            needed.update(references([node.arguments, node.named]))
    return kept[::-1]


def _constants(nodes: list[Node], outputs: list[Any], lifted: Mapping[str, str]) -> list[str]:
    every = [name for node in nodes for name in references([node.arguments, node.named])]
    return [name for name in dict.fromkeys([*every, *references(outputs)]) if name in lifted]


def _form(
    name: str, nodes: list[Node], weight: torch.Tensor, bits: int, *, branch: bool
) -> tuple[Kind, int, int]:
    """How a weight is kept: as a kernel or quantised where nothing else uses it; a branch's stays plain."""
    users = [node for node in nodes if name in references([node.arguments, node.named])]
    as_weight = all(
        len(node.arguments) > 1
        and node.arguments[1] == {"ref": name}
        and references([node.arguments, node.named]).count(name) == 1
        for node in users
    )
    operators = {node.operator for node in users}
    if as_weight and operators == {"aten.convolution.default"}:
        return ("kernel", 0, 0)
    narrow = bits and not branch and as_weight and weight.is_floating_point()
    if narrow and operators == {"aten.linear.default"}:
        for group in (GROUP, 32):
            if weight.shape[1] % group == 0:
                return ("quantised", group, bits)
    return ("plain", 0, 0)


def transposed_kernel(name: str, nodes: list[Node]) -> bool:
    """Whether a kernel is of transposed convolutions: (in, out, *spatial) in torch."""
    return any(
        node.operator == "aten.convolution.default"
        and node.arguments[1] == {"ref": name}
        and bool(node.arguments[6])
        for node in nodes
    )
