"""Programs that Core ML's five axes hold: what passes through six or more is written with fewer.

Video models fold patches and frames with views of six to eight axes, and coremltools itself makes six of a
group norm over five.  Every such step is the moving, picking or joining of one axis, which three or four
axes say as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.export import ExportedProgram

MOST: Final = 5
"""Axes of a tensor in Core ML."""
VIEWS: Final = ("view", "_unsafe_view", "reshape")
"""Operators that give the values another shape."""
SAME: Final = (*VIEWS, "clone")
"""Operators that keep the values in their order."""


def within_five_axes(program: ExportedProgram) -> ExportedProgram:
    """The same program; what had more axes than Core ML knows has fewer wherever a rewriting is known."""
    rewritten: ExportedProgram = program.run_decompositions(_rewritings())
    for mend in (_join_views, _take_what_was_joined):
        mend(rewritten.graph_module)
    rewritten.graph_module.graph.eliminate_dead_code()
    rewritten.graph_module.recompile()
    return rewritten


def _rewritings() -> dict[Any, Callable[..., Any]]:
    import torch

    aten = torch.ops.aten
    return {
        aten.permute.default: _permute,
        aten.select.int: _select,
        aten.stack.default: _stack,
        aten.group_norm.default: _group_norm,
    }


def _permute(given: Tensor, axes: Sequence[int]) -> Any:
    return moved(given, axes) if given.ndim > MOST else NotImplemented


def moved(given: Tensor, axes: Sequence[int]) -> Tensor:
    """`given.permute(axes)`: one axis after the other comes to its place, each by a turn of two in four."""
    order, sizes = list(range(given.ndim)), list(given.shape)
    for place, wanted in enumerate([axis % given.ndim for axis in axes]):
        at = order.index(wanted)
        if at == place:
            continue
        before, between = math.prod(sizes[:place]), math.prod(sizes[place:at])
        after = math.prod(sizes[at + 1 :])
        given = given.reshape(before, between, sizes[at], after).permute(0, 2, 1, 3)
        for row in (order, sizes):
            row.insert(place, row.pop(at))
    return given.reshape(sizes)


def _select(given: Tensor, dim: int, index: int) -> Any:
    if given.ndim <= MOST:
        return NotImplemented
    sizes = list(given.shape)
    dim %= len(sizes)
    before, size, after = sizes[:dim], sizes[dim], sizes[dim + 1 :]
    found = given.reshape(math.prod(before), size, math.prod(after)).select(1, index)
    return found.reshape(*before, *after)


def _stack(given: Sequence[Tensor], dim: int = 0) -> Any:
    import torch

    if given[0].ndim < MOST:
        return NotImplemented
    sizes = list(given[0].shape)
    dim %= len(sizes) + 1
    before, after = math.prod(sizes[:dim]), math.prod(sizes[dim:])
    joined = torch.cat([one.reshape(before, 1, after) for one in given], 1)
    return joined.reshape(*sizes[:dim], len(given), *sizes[dim:])


def _group_norm(
    given: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,  # noqa: ARG001 - the operator's signature
) -> Any:
    """coremltools parts the channels into groups, one axis more: the picture's axes become one before."""
    import torch

    if given.ndim < MOST:
        return NotImplemented
    flat = given.reshape(given.shape[0], given.shape[1], -1)
    return torch.nn.functional.group_norm(flat, num_groups, weight, bias, eps).reshape(given.shape)


def _join_views(module: torch.fx.GraphModule) -> None:
    """A view of a view is one: nothing of more axes stays between them."""
    import torch

    for node in list(module.graph.nodes):
        if _kind(node) not in VIEWS:
            continue
        source = node.args[0]
        while _kind(source) in SAME and source.meta["val"].ndim > MOST:
            source = source.args[0]
        if source is not node.args[0]:  # a copy between them may have been what made a view possible
            node.replace_input_with(node.args[0], source)
            node.target = torch.ops.aten.reshape.default


def _take_what_was_joined(module: torch.fx.GraphModule) -> None:
    """A piece of what was joined is what went in, where the cuts agree.

    coremltools knows the values of a constant piece and makes whole numbers of them, which it then refuses.
    """
    for node in list(module.graph.nodes):
        if _kind(node) != "split" or _kind(node.args[0]) != "cat":
            continue
        dim = node.args[2] if len(node.args) > 2 else 0
        sizes = [one.shape[dim] for one in node.meta["val"]]
        joined = _cut(node.args[0], dim % node.args[0].meta["val"].ndim, sizes)
        if joined is None:
            continue
        for piece in list(node.users):
            piece.replace_all_uses_with(joined[piece.args[1]])


def _cut(node: Any, dim: int, sizes: Sequence[int]) -> list[Any] | None:
    """What was joined along an axis, in pieces of these sizes; `None` where a cut goes through one."""
    waiting, found = [node], list[Any]()
    for size in sizes:
        while (first := waiting.pop(0)).meta["val"].shape[dim] > size:
            axis = (first.args[1] if len(first.args) > 1 else 0) if _kind(first) == "cat" else None
            if axis is None or axis % first.meta["val"].ndim != dim:
                return None
            waiting[:0] = first.args[0]
        if first.meta["val"].shape[dim] != size:
            return None
        found.append(first)
    return found


def _kind(node: Any) -> str:
    """`view` of `aten.view.default`."""
    parts = str(node.target).split(".") if node.op == "call_function" else []
    return parts[1] if parts[:1] == ["aten"] and len(parts) > 1 else ""
