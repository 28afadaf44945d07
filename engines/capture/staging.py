"""A denoiser in three stages, so that the host loop can leave the middle one out.

    first   (sample, timestep, conditions)          -> state, probe
    rest    (timestep, conditions, state)           -> feature
    last    (timestep, conditions, state, feature)  -> prediction

`probe` is what the front (one block, or a transformer's first few) added to its
input, or the first block's modulated input before any block has run; from it
the host loop decides whether the feature is re-used (`engines.hostloop.reuse`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import torch
from torch import nn

from engines.capture.shared import Shared
from engines.models.kinds.blocks import Blocks, borders
from engines.plan import DenoiserStructure

Stage = Literal["first", "rest", "last"]
Run = Callable[[Any, Mapping[str, torch.Tensor]], Any]


class _Heard(nn.Module):
    """A block that also keeps what it was given and what it answered."""

    def __init__(self, inner: nn.Module, into: Shared) -> None:
        super().__init__()
        self.inner = inner
        self._into = into

    def forward(self, hidden_states: torch.Tensor, *given: Any, **named: Any) -> Any:
        found = self.inner(hidden_states, *given, **named)
        self._into.tensors.append(hidden_states)
        # joint blocks answer (text, picture); the last of SD 3 answers no text
        answered = found if isinstance(found, tuple) else (found,)
        self._into.tensors.extend(one for one in answered if one is not None)
        return found


class _Modulated(nn.Module):
    """In place of the first block: answers what it is given; keeps that and what its attention would see."""

    def __init__(self, block: Any, into: Shared, blocks: Blocks) -> None:
        super().__init__()
        self.norm = block.norm1
        self.table = block.scale_shift_table if blocks.modulation == "table" else None
        self._into, self._blocks = into, blocks
        self._names = tuple(inspect.signature(block.forward).parameters)

    def forward(self, *given: Any, **named: Any) -> Any:
        said: dict[str, Any] = dict(zip(self._names, given, strict=False)) | named
        hidden, told = said["hidden_states"], said[self._blocks.timestep]
        text = (said["encoder_hidden_states"],) if self._blocks.joint else ()
        self._into.tensors.extend((self._seen(hidden, told), *text, hidden))
        return (*text, hidden) if text else hidden

    def _seen(self, hidden: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        if self.table is None:
            seen = self.norm(hidden, emb=told)[0] if self._blocks.joint else self.norm(hidden, told)
            return cast("torch.Tensor", seen)
        rows = self.table.reshape(1, -1, self.table.shape[-1])
        batch = hidden.shape[0]  # `len` would fix it in the graph
        shift, scale = (rows + told.reshape(batch, *rows.shape[1:]))[:, :2].chunk(2, dim=1)
        return cast("torch.Tensor", self.norm(hidden) * (1 + scale) + shift).to(hidden.dtype)


class _Passed(nn.Module):
    """In place of a block: answers what it is given."""

    def __init__(self, *, joint: bool) -> None:
        super().__init__()
        self._joint = joint

    def forward(self, hidden_states: torch.Tensor, *_given: Any, **named: Any) -> Any:
        return (named["encoder_hidden_states"], hidden_states) if self._joint else hidden_states


class _Told(nn.Module):
    """A block that is given one of the states that are told, whatever comes to it."""

    def __init__(self, inner: nn.Module, told: Shared, which: int, *, joint: bool) -> None:
        super().__init__()
        self.inner = inner
        self._told, self._which, self._joint = told, which, joint

    def forward(self, *given: Any, **named: Any) -> Any:
        state = self._told.tensors[self._which]
        if self._joint:
            tokens = named["encoder_hidden_states"].shape[1]
            named |= {"encoder_hidden_states": state[:, :tokens], "hidden_states": state[:, tokens:]}
        elif given:
            given = (state, *given[1:])
        else:
            named["hidden_states"] = state
        return self.inner(*given, **named)


class TransformerStage:
    """First: the front blocks.  Rest: those between, whose sum is the feature.  Last: the back blocks, norm
    and projection.

    Works on any transformer that goes through its blocks in turn (`engines.models.kinds.blocks`), by standing
    in for blocks: what a stage does not need is dead code that an export leaves out.  The state is the text's
    tokens, where the blocks change them, and then the picture's; with long skips the answers of all front
    blocks, one after the other.  The feature is the picture's part alone where no block comes after the rest.
    """

    def __init__(
        self,
        network: Any,
        run: Run,
        stage: Stage,
        latent: tuple[int, ...],
        wanted: DenoiserStructure,
        blocks: Blocks,
    ) -> None:
        self._run, self._stage, self._latent, self._blocks = run, stage, latent, blocks
        self._modulated = wanted.modulated
        self._whole = blocks.joint and wanted.back > 0
        self._heard = Shared()
        self._told = Shared()
        lists = [getattr(network, name) for name in blocks.lists]
        count = sum(map(len, lists))
        front, behind = borders(count, wanted, skips=blocks.skips)
        self._states = max(1, front) if blocks.skips else 1
        """Answers of front blocks that the state holds."""
        own = {"first": range(front), "rest": range(front, behind), "last": range(behind, count)}[stage]
        at = 0
        for blocks_here in lists:
            for index, block in enumerate(blocks_here):
                blocks_here[index] = self._in_place(at, block, own)
                at += 1

    def _in_place(self, at: int, block: nn.Module, own: range) -> nn.Module:
        """The block, or what stands in for it."""
        joint, skips = self._blocks.joint, self._blocks.skips
        if self._stage == "first" and self._modulated and at == 0:
            return _Modulated(block, self._heard, self._blocks)
        placed = block if at in own else _Passed(joint=joint)
        # with long skips the answers of all front blocks are wanted
        heard = set(own) if skips and self._stage == "first" else {*own[:1], *own[-1:]}
        if self._stage != "last" and at in heard:
            placed = _Heard(placed, self._heard)
        told = 0
        if self._stage == "last" and skips and not self._modulated:
            told = self._states
        if self._stage != "first" and at <= told:
            placed = _Told(placed, self._told, at, joint=joint)
        return placed

    def __call__(self, network: Any, given: Mapping[str, torch.Tensor]) -> Any:
        try:
            return self._answer(network, given)
        finally:
            self._heard.tensors.clear()
            self._told.tensors.clear()

    def _answer(self, network: Any, given: Mapping[str, torch.Tensor]) -> Any:
        heard = self._heard.tensors
        if self._stage == "first":
            self._run(network, given)
            entering, answered = heard[0], heard[-1]
            kept = heard[1::2] if self._blocks.skips else heard[-2:] if self._blocks.joint else heard[-1:]
            return torch.cat(kept, dim=1), entering if self._modulated else answered - entering
        *skips, state = given["state"].chunk(self._states, dim=1)
        tokens = given["embeddings"].shape[1] if self._blocks.joint and not self._whole else 0
        changed = state[:, tokens:]
        if self._stage == "last":
            # a block that another one skips to is told its own answer, the one after them what the rest left
            self._told.tensors.extend([*skips, state] if self._blocks.skips and not self._modulated else [])
            state = torch.cat([state[:, :tokens], changed + given["feature"]], dim=1)
        self._told.tensors.append(state)
        sample = state.new_zeros(state.shape[0], *self._latent)
        prediction = self._run(network, {**given, "sample": sample})
        if self._stage == "last":
            return prediction
        if not self._whole:
            return heard[-1] - changed
        count = state.shape[1] - heard[-1].shape[1]
        # with no block behind the rest nobody wants the text, and SD 3's last block answers none
        text = heard[-2] if heard[-2].shape[1] == count else state[:, :count]
        return torch.cat([text, heard[-1]], dim=1) - state
