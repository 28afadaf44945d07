"""Matrix products as a low-rank branch and a residual, for engines that keep the residual in few bits.

    W x  =  R x + U (D x)        R = W - U D, of which an engine rounds R alone

The weight side of SVDQuant (Li et al. 2024, arXiv 2411.05007): the branch takes
the largest singular values, so that what is rounded has a smaller range, and
is then fitted anew to what rounding loses, the best of a few tries.  The
method's other half, smoothing, moves outliers of activations into weights so
that activations can be rounded too; nothing here rounds them.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from engines.capture.structure import LOW_RANK
from engines.models.inside import in_a_block

DOWN: Final = f"{LOW_RANK}down"
UP: Final = f"{LOW_RANK}up"
TRIES: Final = 4
"""Times that the branch is fitted to what rounding leaves."""
_GROUP: Final = 64
_OVERSAMPLED: Final = 16
_ROUNDS: Final = 4
"""Power iterations of the randomised decomposition."""


class LowRank(nn.Linear):
    """A linear layer whose `weight` is the residual; the branch is two matrices beside it, no layers."""

    low_rank_down: torch.Tensor
    """(rank, in)"""
    low_rank_up: torch.Tensor
    """(out, rank)"""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        beside = nn.functional.linear(given, self.low_rank_down)
        return super().forward(given) + nn.functional.linear(beside, self.low_rank_up)


def split(network: nn.Module, rank: int) -> int:
    """Give each fitting matrix product of the network's blocks a branch of this rank; how many have one.

    Changes the network in place, and what it computes by rounding alone.
    """
    chosen = [
        name
        for name, layer in network.named_modules()
        if type(layer) is nn.Linear and in_a_block(name) and fits(layer, rank)
    ]
    for name in chosen:
        parent, _, own = name.rpartition(".")
        layer = network.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        setattr(network.get_submodule(parent), own, low_rank(layer, rank))
    return len(chosen)


def fits(layer: nn.Linear, rank: int) -> bool:
    """Whether the branch has at most half as many weights as the layer: with more it would save nothing."""
    return 2 * rank * (layer.in_features + layer.out_features) <= layer.in_features * layer.out_features


def low_rank(layer: nn.Linear, rank: int) -> LowRank:
    """The layer in two parts; the same at every call."""
    weight = layer.weight.detach().float()
    lost = weight
    best: tuple[float, torch.Tensor, torch.Tensor] | None = None
    for _ in range(TRIES):
        up, down = _largest(lost, rank)
        residual = weight - up @ down
        rounded = in_four_bits(residual)
        error = float((residual - rounded).norm())
        if best is None or error < best[0]:
            best = error, up, down
        lost = weight - rounded
    assert best is not None
    _, up, down = best
    with torch.device("meta"):
        found = LowRank(layer.in_features, layer.out_features, bias=layer.bias is not None)
    found.weight = nn.Parameter((weight - up @ down).to(layer.weight.dtype), requires_grad=False)
    found.bias = layer.bias
    found.register_buffer(DOWN, down.to(layer.weight.dtype))
    found.register_buffer(UP, up.to(layer.weight.dtype))
    return found


def in_four_bits(weight: torch.Tensor) -> torch.Tensor:
    """(out, in) as an engine with 4 bits would give it back: groups along the input with a scale each.

    Engines differ in their groups and in whether zero has a place of its own; the branch is fitted to this
    one, which none of them is far from.
    """
    wide = nn.functional.pad(weight, (0, -weight.shape[1] % _GROUP))
    groups = wide.reshape(weight.shape[0], -1, _GROUP)
    scale = (groups.abs().amax(dim=-1, keepdim=True) / 7).clamp(min=torch.finfo(torch.float32).tiny)
    rounded = (groups / scale).round() * scale
    return rounded.reshape(wide.shape)[:, : weight.shape[1]]


def _largest(weight: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The best approximation of (out, in) of this rank, as (out, rank) and (rank, in)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # it begins with random directions
        count = min(rank + _OVERSAMPLED, *weight.shape)
        left, values, right = torch.svd_lowrank(weight, q=count, niter=_ROUNDS)
    return (left[:, :rank] * values[:rank]).contiguous(), right[:, :rank].T.contiguous()
