"""Smaller networks out of large ones: inner channels removed, weights zeroed in a 2:4 pattern.

Both go by the size of weights alone (Li et al., "Pruning Filters for Efficient
ConvNets", arXiv 1608.08710; Mishra et al., "Accelerating Sparse Deep Neural
Networks", arXiv 2104.08378) and train nothing afterwards.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from engines.models.inside import channels_going, groups_going


def prune(network: nn.Module, share: float) -> int:
    """Remove about `share` of the inner channels of residual blocks and feed-forwards; how many went.

    Changes the network in place.  What a block takes and gives keeps its shape.
    """
    gone = 0
    for module in list(network.modules()):
        kind = type(module).__name__
        if kind == "ResnetBlock2D":
            gone += _residual(module, share)
        elif kind == "FeedForward":
            gone += _feed_forward(module, share)
    return gone


def _residual(block: Any, share: float) -> int:
    """Whole groups of the inner norm, so that what stays is normalised as before."""
    norm, inner = block.norm2, block.conv1.out_channels
    if not isinstance(norm, nn.GroupNorm) or block.time_embedding_norm != "default":
        return 0
    groups, width = norm.num_groups, inner // norm.num_groups
    going = groups_going(groups, share)
    if not going:
        return 0
    after = block.conv2.weight.detach().abs().sum(dim=(0, 2, 3))
    worth = (after * norm.weight.detach().abs()).reshape(groups, width).sum(dim=1)
    kept = torch.sort(torch.topk(worth, groups - going).indices).values
    channels = (kept[:, None] * width + torch.arange(width)).reshape(-1)
    block.conv1 = _convolution(block.conv1, outputs=channels)
    block.conv2 = _convolution(block.conv2, inputs=channels)
    smaller = nn.GroupNorm(groups - going, len(channels), norm.eps, norm.affine)
    smaller.weight.data, smaller.bias.data = norm.weight.data[channels], norm.bias.data[channels]
    block.norm2 = smaller
    if block.time_emb_proj is not None:
        block.time_emb_proj = _linear(block.time_emb_proj, outputs=channels)
    return int(going * width)


def _feed_forward(block: Any, share: float) -> int:
    """Single channels between the two matrices, both halves of a gated activation with them."""
    first, second = block.net[0], block.net[-1]
    entering = getattr(first, "proj", None)
    if not isinstance(entering, nn.Linear) or not isinstance(second, nn.Linear):
        return 0
    inner = second.in_features
    going = channels_going(inner, share)
    if not going or entering.out_features % inner:
        return 0
    times = entering.out_features // inner
    before = entering.weight.detach().norm(dim=1).reshape(times, inner).prod(dim=0)
    worth = before * second.weight.detach().norm(dim=0)
    kept = torch.sort(torch.topk(worth, inner - going).indices).values
    rows = (torch.arange(times)[:, None] * inner + kept).reshape(-1)
    first.proj = _linear(entering, outputs=rows)
    block.net[-1] = _linear(second, inputs=kept)
    return going


def _linear(
    layer: nn.Linear, inputs: torch.Tensor | None = None, outputs: torch.Tensor | None = None
) -> nn.Linear:
    weight, bias = layer.weight.data, None if layer.bias is None else layer.bias.data
    if inputs is not None:
        weight = weight[:, inputs]
    if outputs is not None:
        weight, bias = weight[outputs], None if bias is None else bias[outputs]
    found = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    found.weight.data = weight.contiguous()
    if found.bias is not None and bias is not None:
        found.bias.data = bias.contiguous()
    return found


def _convolution(
    layer: Any, inputs: torch.Tensor | None = None, outputs: torch.Tensor | None = None
) -> nn.Conv2d:
    weight, bias = layer.weight.data, None if layer.bias is None else layer.bias.data
    if inputs is not None:
        weight = weight[:, inputs]
    if outputs is not None:
        weight, bias = weight[outputs], None if bias is None else bias[outputs]
    found = nn.Conv2d(
        weight.shape[1], weight.shape[0], layer.kernel_size, layer.stride, layer.padding,
        bias=bias is not None,
    )  # fmt: skip
    found.weight.data = weight.contiguous()
    if found.bias is not None and bias is not None:
        found.bias.data = bias.contiguous()
    return found


def sparsify(network: nn.Module) -> int:
    """Zero the two smallest of every four neighbouring weights of each matrix product; how many layers.

    The 2:4 pattern that tensor cores from Ampere on skip.
    """
    changed = 0
    for layer in network.modules():
        if isinstance(layer, nn.Linear) and fits_two_of_four(layer):
            layer.weight.data *= two_of_four(layer.weight.data)
            changed += 1
    return changed


def fits_two_of_four(layer: nn.Linear) -> bool:
    """Whether the sparse kernels take a layer: torch's ask for multiples of 32 rows and 64 columns."""
    return layer.out_features % 32 == 0 and layer.in_features % 64 == 0


def two_of_four(weight: torch.Tensor) -> torch.Tensor:
    """The mask, of the shape of `weight` (out, in): ones at the two largest of every four along the input."""
    fours = weight.abs().reshape(weight.shape[0], -1, 4)
    largest = torch.topk(fours, 2, dim=-1).indices
    return torch.zeros_like(fours).scatter(-1, largest, 1.0).reshape(weight.shape)
