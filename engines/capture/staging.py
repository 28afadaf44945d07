"""A denoiser in three stages, so that the host loop can leave the middle one out.

    first   (sample, timestep, conditions)          -> state, probe
    rest    (timestep, conditions, state)           -> feature
    last    (timestep, conditions, state, feature)  -> prediction

`probe` is what the front (one block, or a transformer's first few) added to its
input, or the first block's modulated input before any block has run; from it
the host loop decides whether the feature is re-used (`engines.hostloop.reuse`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from engines.capture.shared import Shared
from engines.capture.unet_split import Split
from engines.errors import CaptureError
from engines.plan import DenoiserStructure

Stage = Literal["first", "rest", "last"]
Run = Callable[[Any, Mapping[str, torch.Tensor]], Any]


class UNetStage(Split):
    """First: the first down block.  Last: the last up block.  Rest: all between; its answer is the feature.

    `skips` are the first block's answers for the last one, joined along channels.
    """

    def __init__(self, unet: Any, names: Sequence[str], stage: Stage) -> None:
        super().__init__(unet, names)
        self._stage = stage
        first, last = unet.down_blocks[0], unet.up_blocks[-1]
        kept = {"first": (first,), "last": (last,), "rest": (*unet.down_blocks[1:], *unet.up_blocks[:-1])}
        for blocks in (unet.down_blocks, unet.up_blocks):
            for index, block in enumerate(blocks):
                if not any(block is one for one in kept[stage]):
                    blocks[index] = nn.Identity()
        if stage != "rest":
            unet.mid_block = None
        if stage != "first":
            unet.conv_in = nn.Identity()
        if stage != "last":
            unet.conv_norm_out, unet.conv_out = None, nn.Identity()

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        unet: Any = self.unet
        given = self.named(inputs)
        embeddings = given["embeddings"]
        if self._stage == "first":
            time = self.time(given)
            entering = unet.conv_in(self.entering(given))
            state, more = self.down(unet.down_blocks[0], entering, time, embeddings)
            skips = (entering, *more[:-1])
            return torch.cat(skips, dim=1), state, skips[-1] - entering
        time = self.time({**given, "sample": given["state"]})
        if self._stage == "rest":
            return self.deep(given["state"], (given["state"],), time, embeddings)[0]
        count = len(unet.up_blocks[-1].resnets)
        skips = given["skips"].chunk(count, dim=1)
        return self.out(self.up(unet.up_blocks[-1], given["feature"], skips, time, embeddings))


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
    """In place of the first block: answers what it is given, and keeps that and what its attention would see.

    Joint blocks norm by the timestep's embedding; PixArt's shift and scale by a table and the timestep.
    """

    def __init__(self, block: Any, into: Shared, *, joint: bool) -> None:
        super().__init__()
        self.norm = block.norm1
        self.table = None if joint else block.scale_shift_table
        self._into = into

    def forward(self, hidden_states: torch.Tensor, *_given: Any, **named: Any) -> Any:
        if self.table is None:
            seen = self.norm(hidden_states, emb=named["temb"])[0]
            text: torch.Tensor = named["encoder_hidden_states"]
            self._into.tensors.extend((seen, text, hidden_states))
            return text, hidden_states
        batch = hidden_states.shape[0]  # `len` would fix it in the graph
        told = named["timestep"].reshape(batch, *self.table.shape)
        shift, scale = (self.table[None] + told)[:, :2].chunk(2, dim=1)
        seen = self.norm(hidden_states) * (1 + scale) + shift
        self._into.tensors.extend((seen, hidden_states))
        return hidden_states


class _Told(nn.Module):
    """In place of blocks: answers what it was told, whatever it is asked."""

    def __init__(self, told: Shared, *, joint: bool) -> None:
        super().__init__()
        self._told, self._joint = told, joint

    def forward(self, *_given: Any, **named: Any) -> Any:
        state = self._told.tensors[0]
        if not self._joint:
            return state
        tokens = named["encoder_hidden_states"].shape[1]
        return state[:, :tokens], state[:, tokens:]


def borders(blocks: int, wanted: DenoiserStructure) -> tuple[int, int]:
    """The block that `rest` begins with, and the one that `last` begins with; at least one lies between.

    Raises:
        CaptureError: there is one block only.
    """
    front = 0 if wanted.modulated else max(1, round(wanted.front * blocks))
    if front >= blocks:
        raise CaptureError("The denoiser has no block behind those in front; leave the cache out.")
    back = max(1, round(wanted.back * blocks)) if wanted.back else 0
    return front, max(front + 1, blocks - back)


class TransformerStage:
    """First: the front blocks.  Rest: those between, whose sum is the feature.  Last: the back blocks, norm
    and projection.

    Works on any transformer that goes through `transformer_blocks` (and `single_transformer_blocks`) in turn,
    by standing in for blocks: what a stage does not need is dead code that an export leaves out.  The state
    is the text's tokens, where the blocks change them, and then the picture's.  The feature is the picture's
    part alone where no block comes after the rest.
    """

    def __init__(
        self, network: Any, run: Run, stage: Stage, latent: tuple[int, ...], wanted: DenoiserStructure
    ) -> None:
        self._run, self._stage, self._latent = run, stage, latent
        self._modulated = wanted.modulated
        self._heard = Shared()
        self._told = Shared()
        doubles = list(network.transformer_blocks)
        singles = list(getattr(network, "single_transformer_blocks", None) or ())
        self._joint = hasattr(network, "context_embedder")
        front, behind = borders(len(doubles) + len(singles), wanted)
        self._whole = self._joint and wanted.back > 0
        entering: list[nn.Module] = [] if stage == "first" else [_Told(self._told, joint=self._joint)]
        if stage == "first" and wanted.modulated:
            entering = [_Modulated(doubles[0], self._heard, joint=self._joint)]
        begin, end = {"first": (0, front), "rest": (front, behind), "last": (behind, None)}[stage]
        blocks: list[nn.Module] = [*doubles, *singles][begin:end]
        if stage != "last":
            for at in {0, len(blocks) - 1} if blocks else ():
                blocks[at] = _Heard(blocks[at], self._heard)
        here = len(doubles[begin:end])
        network.transformer_blocks = nn.ModuleList([*entering, *blocks[:here]])
        if singles:
            network.single_transformer_blocks = nn.ModuleList(blocks[here:])

    def __call__(self, network: Any, given: Mapping[str, torch.Tensor]) -> Any:
        try:
            return self._answer(network, given)
        finally:
            self._heard.tensors.clear()
            self._told.tensors.clear()

    def _answer(self, network: Any, given: Mapping[str, torch.Tensor]) -> Any:
        if self._stage == "first":
            self._run(network, given)
            entering, *answered = self._heard.tensors
            state = torch.cat(answered[-2:], dim=1) if self._joint else answered[-1]
            return state, entering if self._modulated else answered[-1] - entering
        state = given["state"]
        tokens = given["embeddings"].shape[1] if self._joint and not self._whole else 0
        changed = state[:, tokens:]
        if self._stage == "last":
            state = torch.cat([state[:, :tokens], changed + given["feature"]], dim=1)
        self._told.tensors.append(state)
        sample = state.new_zeros(state.shape[0], *self._latent)
        prediction = self._run(network, {**given, "sample": sample})
        if self._stage == "last":
            return prediction
        answered = self._heard.tensors
        if not self._whole:
            return answered[-1] - changed
        count = state.shape[1] - answered[-1].shape[1]
        # with no block behind the rest nobody wants the text, and SD 3's last block answers none
        text = answered[-2] if answered[-2].shape[1] == count else state[:, :count]
        return torch.cat([text, answered[-1]], dim=1) - state
