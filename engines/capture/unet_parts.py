"""A U-Net, of pictures or of videos, in the parts that feature caching runs.

    full     (inputs)                       -> prediction, feature
    shallow  (inputs, feature)              -> prediction
    first    (inputs)                       -> skips, state, probe
    rest     (inputs but sample, state)     -> feature
    last     (inputs but sample, state, skips, feature) -> prediction

`feature` is what enters the last up block (Ma et al., "DeepCache", arXiv 2312.00858, section 3.2), `state`
what the first down block answers, `skips` what it and what stands before it leave for the last up block,
joined along channels, `probe` what it added.

A part runs the network's own `forward` with others in place of the blocks that it does not need; what they
leave without use is dead code that an export drops.  So it works on every network of diffusers that goes
through `conv_in`, `down_blocks`, `mid_block`, `up_blocks` and `conv_out` in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import nn

from engines.capture.shared import Shared

Part = Literal["full", "shallow", "first", "rest", "last"]
Run = Callable[[Any, Mapping[str, torch.Tensor]], torch.Tensor]
Answer = Callable[[torch.Tensor], Any]


class InPlace(nn.Module):
    """In place of a block: answers by what it is given first; of an up block it has as many `resnets`."""

    has_cross_attention = False

    def __init__(self, answer: Answer, resnets: int = 0) -> None:
        super().__init__()
        self._answer = answer
        self.resnets = (None,) * resnets

    def forward(self, *given: torch.Tensor, **named: Any) -> Any:
        return self._answer(given[0] if given else named["hidden_states"])


class _Around(nn.Module):
    """A block whose input is looked at or changed before it, and whose answer is looked at."""

    def __init__(self, inner: Any, before: Answer, after: Callable[[Any], None] | None = None) -> None:
        super().__init__()
        self.inner = inner
        self.has_cross_attention = bool(getattr(inner, "has_cross_attention", False))
        self._before, self._after = before, after

    @property
    def resnets(self) -> Any:
        return self.inner.resnets

    def forward(self, *, hidden_states: torch.Tensor, **named: Any) -> Any:
        found = self.inner(hidden_states=self._before(hidden_states), **named)
        if self._after is not None:
            self._after(found)
        return found


def _left(block: Any) -> int:
    """Skips that a down block leaves."""
    return len(block.resnets) + (block.downsamplers is not None)


def same(hidden: torch.Tensor) -> torch.Tensor:
    return hidden


def _passed(block: Any, more: int = 0) -> InPlace:
    """In place of a down block: leaves as many skips as it, or more."""
    count = _left(block) + more
    return InPlace(lambda hidden: (hidden, (hidden,) * count))


class UNetPart:
    """One part of a U-Net, which is changed in place.

    `latent`: (C, h, w), or (C, F, h, w) of a video, whose frames the network takes as a batch.
    """

    def __init__(self, network: Any, run: Run, part: Part, latent: tuple[int, ...]) -> None:
        self._run, self._part, self._latent = run, part, latent
        self._frames = latent[1:-2]
        self._heard, self._told = Shared(), Shared()
        down, up = network.down_blocks, network.up_blocks
        first, last = down[0], up[-1]
        self._taken, self._first = len(last.resnets), _left(first)
        if part in ("shallow", "first", "last"):
            network.mid_block = InPlace(same)
            for at in range(1, len(down)):
                # what the first block's downsampler leaves, the next one leaves for it
                down[at] = _passed(down[at], more=int(part == "shallow" and at == 1))
            for at in range(len(up) - 1):
                up[at] = InPlace(same, len(up[at].resnets))
        match part:
            case "full":
                up[-1] = _Around(last, self._hear)
            case "shallow":
                first.downsamplers = None
                up[-1] = _Around(last, self._feature)
            case "first":
                down[0] = _Around(first, self._hear, self._hear_all)
                up[-1] = InPlace(same, self._taken)
            case "rest":
                down[0] = InPlace(self._state)
                up[-1] = InPlace(self._hear, self._taken)
            case "last":
                down[0] = InPlace(self._skips)
                up[-1] = _Around(last, self._feature)
        if part in ("rest", "last"):
            network.conv_in = InPlace(self._entering)
            if hasattr(network, "transformer_in"):
                network.transformer_in = InPlace(lambda hidden: (hidden,))
        if part in ("first", "rest"):
            network.conv_norm_out, network.conv_act, network.conv_out = (nn.Identity() for _ in range(3))

    # -- what stands in for blocks: `_told` holds what the part is given, `_heard` what it hears

    def _hear(self, hidden: torch.Tensor) -> torch.Tensor:
        self._heard.tensors.append(hidden)
        return hidden

    def _hear_all(self, answered: tuple[torch.Tensor, tuple[torch.Tensor, ...]]) -> None:
        self._heard.tensors.extend((*answered[1], answered[0]))

    def _feature(self, _hidden: torch.Tensor) -> torch.Tensor:
        return self._told.tensors[-1]

    def _entering(self, hidden: torch.Tensor) -> torch.Tensor:
        return self._told.tensors[0] if self._part == "last" else hidden

    def _state(self, _hidden: torch.Tensor) -> Any:
        state = self._told.tensors[0]
        return state, (state,) * self._first

    def _skips(self, _hidden: torch.Tensor) -> Any:
        skips = self._told.tensors[1 : self._taken]
        # what its downsampler leaves is of no use here
        return skips[-1], (*skips, *skips[-1:] * (self._first - len(skips)))

    # -- the part itself

    def __call__(self, network: Any, given: Mapping[str, torch.Tensor]) -> Any:
        try:
            return self._answer(network, given)
        finally:
            self._heard.tensors.clear()
            self._told.tensors.clear()

    def _answer(self, network: Any, given: Mapping[str, torch.Tensor]) -> Any:
        told = self._told.tensors
        if self._part in ("rest", "last"):
            state = given["state"]
            given = {**given, "sample": state.new_zeros(state.shape[0], *self._latent)}
        match self._part:
            case "rest":
                told.append(self._apart(given["state"]))
            case "last":
                told.extend(self._apart(given["skips"]).chunk(self._taken, dim=1))
                told.append(self._apart(given["feature"]))
            case "shallow":
                told.append(self._apart(given["feature"]))
        prediction = self._run(network, given)
        heard = self._heard.tensors
        match self._part:
            case "full":
                return prediction, self._together(heard[0])
            case "rest":
                return self._together(heard[0])
            case "first":
                skips, state = heard[: self._taken], heard[-1]
                found = (torch.cat(skips, dim=1), state, skips[-1] - skips[0])
                return tuple(map(self._together, found))
        return prediction

    def _together(self, frames: torch.Tensor) -> torch.Tensor:
        """(B F, C, h, w) to (B, F, C, h, w); of pictures as it is."""
        return frames.reshape(-1, *self._frames, *frames.shape[1:]) if self._frames else frames

    def _apart(self, video: torch.Tensor) -> torch.Tensor:
        return video.flatten(0, 1) if self._frames else video
