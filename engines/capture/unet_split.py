"""A U-Net taken apart: the parts that feature caching runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from engines.models.kinds.unet import guidance_embedding


class Split(nn.Module):
    """A U-Net taken apart at its last up block (Ma et al., "DeepCache", arXiv 2312.00858, section 3.2)."""

    def __init__(self, unet: Any, names: Sequence[str]) -> None:
        super().__init__()
        self.unet = unet
        self._names = tuple(names)

    def named(self, given: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        return dict(zip(self._names, given, strict=True))

    def time(self, given: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The embedding of the timestep and of every other condition but the text."""
        unet: Any = self.unet
        sample = given["sample"]
        condition = None
        if "guidance" in given:
            width = int(unet.config.time_cond_proj_dim)
            condition = guidance_embedding(given["guidance"], width).to(sample.dtype)
        time: torch.Tensor = unet.time_embedding(
            unet.get_time_embed(sample=sample, timestep=given["timestep"]), condition
        )
        if "class_labels" in given:
            time = time + unet.get_class_embed(sample=sample, class_labels=given["class_labels"])
        if "time_ids" in given:
            added = {"text_embeds": given["pooled"], "time_ids": given["time_ids"]}
            time = time + unet.get_aug_embed(
                emb=time, encoder_hidden_states=given["embeddings"], added_cond_kwargs=added
            )
        return time

    @staticmethod
    def entering(given: Mapping[str, torch.Tensor]) -> torch.Tensor:
        sample = given["sample"]
        return torch.cat([sample, given["picture"]], dim=1) if "picture" in given else sample

    def down(
        self, block: Any, sample: torch.Tensor, time: torch.Tensor, embeddings: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        if getattr(block, "has_cross_attention", False):
            found = block(hidden_states=sample, temb=time, encoder_hidden_states=embeddings)
        else:
            found = block(hidden_states=sample, temb=time)
        return found[0], tuple(found[1])

    def up(
        self,
        block: Any,
        sample: torch.Tensor,
        skips: tuple[torch.Tensor, ...],
        time: torch.Tensor,
        embeddings: torch.Tensor,
    ) -> torch.Tensor:
        size = None if block.upsamplers is None else (2 * sample.shape[-2], 2 * sample.shape[-1])
        arguments: dict[str, Any] = {
            "hidden_states": sample,
            "temb": time,
            "res_hidden_states_tuple": skips,
            "upsample_size": size,
        }
        if getattr(block, "has_cross_attention", False):
            arguments["encoder_hidden_states"] = embeddings
        result: torch.Tensor = block(**arguments)
        return result

    def deep(
        self,
        sample: torch.Tensor,
        skips: tuple[torch.Tensor, ...],
        time: torch.Tensor,
        embeddings: torch.Tensor,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """From behind the first down block to what enters the last up block; and the skips that are left."""
        unet: Any = self.unet
        for block in unet.down_blocks[1:]:
            sample, more = self.down(block, sample, time, embeddings)
            skips += more
        if unet.mid_block is not None:
            if getattr(unet.mid_block, "has_cross_attention", False):
                sample = unet.mid_block(sample, time, encoder_hidden_states=embeddings)
            else:
                sample = unet.mid_block(sample, time)
        for block in unet.up_blocks[:-1]:
            count = len(block.resnets)
            sample = self.up(block, sample, skips[-count:], time, embeddings)
            skips = skips[:-count]
        return sample, skips

    def out(self, sample: torch.Tensor) -> torch.Tensor:
        unet: Any = self.unet
        if unet.conv_norm_out is not None:
            sample = unet.conv_act(unet.conv_norm_out(sample))
        prediction: torch.Tensor = unet.conv_out(sample)
        return prediction


class DenoiserFull(Split):
    """The whole U-Net; also returns what enters its last up block."""

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        unet: Any = self.unet
        given = self.named(inputs)
        embeddings, time = given["embeddings"], self.time(given)
        sample = unet.conv_in(self.entering(given))
        skips: tuple[torch.Tensor, ...] = (sample,)
        sample, more = self.down(unet.down_blocks[0], sample, time, embeddings)
        skips += more
        feature, skips = self.deep(sample, skips, time, embeddings)
        sample = self.up(unet.up_blocks[-1], feature, skips, time, embeddings)
        return self.out(sample), feature


class DenoiserShallow(Split):
    """First down block (without its downsampler) and last up block, around a cached feature."""

    def __init__(self, unet: Any, names: Sequence[str]) -> None:
        super().__init__(unet, names)
        unet.down_blocks[0].downsamplers = None
        for blocks, kept in ((unet.down_blocks, unet.down_blocks[0]), (unet.up_blocks, unet.up_blocks[-1])):
            for index, block in enumerate(blocks):
                if block is not kept:
                    blocks[index] = nn.Identity()
        unet.mid_block = None

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        unet: Any = self.unet
        given = self.named(inputs)
        embeddings, feature, time = given["embeddings"], given["feature"], self.time(given)
        sample = unet.conv_in(self.entering(given))
        _, more = self.down(unet.down_blocks[0], sample, time, embeddings)
        sample = self.up(unet.up_blocks[-1], feature, (sample, *more), time, embeddings)
        return self.out(sample)
