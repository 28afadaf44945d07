"""A denoiser in three stages, so that the host loop can leave the middle one out.

    first   (sample, timestep, conditions)          -> state, probe
    rest    (timestep, conditions, state)           -> feature
    last    (timestep, conditions, state, feature)  -> prediction

`probe` is what the first block added to its input; where it hardly changes
from step to step the feature is re-used (first-block caching, ParaAttention).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from engines.capture.shared import Shared
from engines.capture.unet_split import Split

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


class TransformerStage:
    """First: the first block.  Rest: the others, whose sum is the feature.  Last: norm and projection.

    Works on any transformer that goes through `transformer_blocks` (and `single_transformer_blocks`) in turn,
    by standing in for blocks: what a stage does not need is dead code that an export leaves out.  The state
    is the text's tokens, where the blocks change them, and then the picture's.
    """

    def __init__(self, network: Any, run: Run, stage: Stage, latent: tuple[int, ...]) -> None:
        self._run, self._stage, self._latent = run, stage, latent
        self._heard = Shared()
        self._told = Shared()
        singles = getattr(network, "single_transformer_blocks", None)
        blocks = list(network.transformer_blocks)
        self._joint = hasattr(network, "context_embedder")
        told = _Told(self._told, joint=self._joint)
        if stage == "first":
            blocks, rest = [_Heard(blocks[0], self._heard)], []
        elif stage == "rest":
            rest = list(singles) if singles is not None else []
            last = rest or blocks
            last[-1] = _Heard(last[-1], self._heard)
            blocks[0] = told
        else:
            blocks, rest = [told], []
        network.transformer_blocks = nn.ModuleList(blocks)
        if singles is not None:
            network.single_transformer_blocks = nn.ModuleList(rest)

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
            state = torch.cat(answered, dim=1) if self._joint else answered[0]
            return state, answered[-1] - entering
        state = given["state"]
        tokens = given["embeddings"].shape[1] if self._joint else 0
        picture = state[:, tokens:]
        if self._stage == "last":
            state = torch.cat([state[:, :tokens], picture + given["feature"]], dim=1)
        self._told.tensors.append(state)
        sample = state.new_zeros(state.shape[0], *self._latent)
        prediction = self._run(network, {**given, "sample": sample})
        return prediction if self._stage == "last" else self._heard.tensors[-1] - picture
