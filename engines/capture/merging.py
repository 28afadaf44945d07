"""Token merging around self-attention (Bolya & Hoffman, "Token Merging for Fast Stable Diffusion",
arXiv 2303.17604), with a static ratio so that the graph can be exported.

Differences from the reference code: the destination of each 2x2 cell is its
first token instead of a random one, and the mean is a sum divided by a count,
which every exporter knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Matching:
    """Which tokens are merged: `merged` sources go into `into` destinations, `kept` sources stay.

    `sources` and `destinations` are fixed positions, (S,) and (D,); the other
    indices are into those, (B, r), (B, S - r) and (B, r).
    """

    sources: torch.Tensor
    destinations: torch.Tensor
    kept: torch.Tensor
    merged: torch.Tensor
    into: torch.Tensor


def positions(tokens: int) -> tuple[list[int], list[int]]:
    """Sources and destinations of a square picture's tokens: one destination for each 2x2 cell."""
    side = math.isqrt(tokens)
    if side * side == tokens:
        destinations = [y * side + x for y in range(0, side, 2) for x in range(0, side, 2)]
    else:
        destinations = list(range(0, tokens, 4))
    chosen = set(destinations)
    return [token for token in range(tokens) if token not in chosen], destinations


def match(tokens: torch.Tensor, ratio: float) -> Matching:
    """Find the `ratio` most similar of all tokens, (B, N, C); cosine similarity, bipartite."""
    count = tokens.shape[1]
    source_list, destination_list = positions(count)
    sources = torch.tensor(source_list, device=tokens.device)
    destinations = torch.tensor(destination_list, device=tokens.device)
    unit = tokens / tokens.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    scores = unit[:, sources] @ unit[:, destinations].transpose(1, 2)
    best, into = scores.max(dim=-1)
    order = torch.topk(best, len(source_list), dim=-1).indices
    gone = min(int(count * ratio), len(source_list))
    merged, kept = order[:, :gone], order[:, gone:]
    return Matching(sources, destinations, kept, merged, into.gather(1, merged))


def _wide(index: torch.Tensor, channels: int) -> torch.Tensor:
    return index.unsqueeze(-1).expand(-1, -1, channels)


def merge(tokens: torch.Tensor, found: Matching) -> torch.Tensor:
    """(B, N, C) to (B, N - r, C): kept sources, then destinations with the mean of what went into them."""
    channels = tokens.shape[-1]
    source, destination = tokens[:, found.sources], tokens[:, found.destinations]
    going = source.gather(1, _wide(found.merged, channels))
    total = destination.scatter_add(1, _wide(found.into, channels), going)
    ones = torch.ones_like(destination[..., :1])
    count = ones.scatter_add(1, found.into.unsqueeze(-1), torch.ones_like(going[..., :1]))
    return torch.cat([source.gather(1, _wide(found.kept, channels)), total / count], dim=1)


def unmerge(tokens: torch.Tensor, found: Matching) -> torch.Tensor:
    """The inverse: every merged token gets its destination's value."""
    channels = tokens.shape[-1]
    kept_count = found.kept.shape[1]
    kept, destination = tokens[:, :kept_count], tokens[:, kept_count:]
    gone = destination.gather(1, _wide(found.into, channels))
    # `order` is a permutation of the sources: sorting it gives back their positions.
    order = torch.cat([found.kept, found.merged], dim=1)
    both = torch.cat([kept, gone], dim=1)
    source = torch.zeros_like(both).scatter(1, _wide(order, channels), both)
    every = torch.cat([source, destination], dim=1)
    place = torch.cat([found.sources, found.destinations])
    return every[:, torch.argsort(place)]


class MergedAttention:
    """An attention processor: merge, attend with `inner`, unmerge; cross-attention passes through."""

    def __init__(self, inner: Callable[..., torch.Tensor], ratio: float) -> None:
        self.inner = inner
        self.ratio = ratio

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        if encoder_hidden_states is not None:
            return self.inner(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        found = match(hidden_states, self.ratio)
        return unmerge(self.inner(attn, merge(hidden_states, found), None, attention_mask, temb), found)


def merge_tokens(unet: Any, ratio: float) -> int:
    """Patch the self-attention of the highest resolution that has any; returns how many.

    That is the first level in the reference, and the second of SDXL, whose first has no attention.
    """
    levels = len(unet.up_blocks)
    processors = dict(unet.attn_processors)
    chosen: list[str] = []
    for level in range(levels):
        prefixes = (f"down_blocks.{level}.", f"up_blocks.{levels - 1 - level}.")
        chosen = [name for name in processors if name.startswith(prefixes) and ".attn1." in name]
        if chosen:
            break
    for name in chosen:
        processors[name] = MergedAttention(processors[name], ratio)
    if chosen:
        unet.set_attn_processor(processors)
    return len(chosen)
