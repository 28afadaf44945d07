"""Components as torch modules: inputs and outputs as docs/architecture.md's table orders them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from engines.capture.merging import merge_tokens
from engines.capture.structure import Structure
from engines.errors import CaptureError
from engines.models.lora import merge

if TYPE_CHECKING:
    from engines.models.model import Model


class TextEncoder(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        embeddings: torch.Tensor = self.encoder(input_ids=input_ids, return_dict=True).last_hidden_state
        return embeddings


class Denoiser(nn.Module):
    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        prediction: torch.Tensor = self.unet(sample, timestep, embeddings, return_dict=False)[0]
        return prediction


class _Split(nn.Module):
    """A U-Net taken apart at its last up block (Ma et al., "DeepCache", arXiv 2312.00858, section 3.2)."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def _time(self, sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        unet: Any = self.unet
        time: torch.Tensor = unet.time_embedding(unet.get_time_embed(sample=sample, timestep=timestep))
        return time

    def _down(
        self, block: Any, sample: torch.Tensor, time: torch.Tensor, embeddings: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        if getattr(block, "has_cross_attention", False):
            found = block(hidden_states=sample, temb=time, encoder_hidden_states=embeddings)
        else:
            found = block(hidden_states=sample, temb=time)
        return found[0], tuple(found[1])

    def _up(
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

    def _out(self, sample: torch.Tensor) -> torch.Tensor:
        unet: Any = self.unet
        if unet.conv_norm_out is not None:
            sample = unet.conv_act(unet.conv_norm_out(sample))
        prediction: torch.Tensor = unet.conv_out(sample)
        return prediction


class DenoiserFull(_Split):
    """The whole U-Net; also returns what enters its last up block."""

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, embeddings: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        unet: Any = self.unet
        time = self._time(sample, timestep)
        sample = unet.conv_in(sample)
        skips: tuple[torch.Tensor, ...] = (sample,)
        for block in unet.down_blocks:
            sample, more = self._down(block, sample, time, embeddings)
            skips += more
        if unet.mid_block is not None:
            if getattr(unet.mid_block, "has_cross_attention", False):
                sample = unet.mid_block(sample, time, encoder_hidden_states=embeddings)
            else:
                sample = unet.mid_block(sample, time)
        for block in unet.up_blocks[:-1]:
            count = len(block.resnets)
            sample = self._up(block, sample, skips[-count:], time, embeddings)
            skips = skips[:-count]
        feature = sample
        sample = self._up(unet.up_blocks[-1], sample, skips, time, embeddings)
        return self._out(sample), feature


class DenoiserShallow(_Split):
    """First down block (without its downsampler) and last up block, around a cached feature."""

    def __init__(self, unet: Any) -> None:
        super().__init__(unet)
        unet.down_blocks[0].downsamplers = None
        for blocks, kept in ((unet.down_blocks, unet.down_blocks[0]), (unet.up_blocks, unet.up_blocks[-1])):
            for index, block in enumerate(blocks):
                if block is not kept:
                    blocks[index] = nn.Identity()
        unet.mid_block = None

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, embeddings: torch.Tensor, feature: torch.Tensor
    ) -> torch.Tensor:
        unet: Any = self.unet
        time = self._time(sample, timestep)
        sample = unet.conv_in(sample)
        _, more = self._down(unet.down_blocks[0], sample, time, embeddings)
        sample = self._up(unet.up_blocks[-1], feature, (sample, *more), time, embeddings)
        return self._out(sample)


class Decoder(nn.Module):
    """Undoes the latent scaling, then decodes."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae
        self.factor = float(getattr(vae.config, "scaling_factor", None) or 1.0)
        self.shift = float(getattr(vae.config, "shift_factor", None) or 0.0)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        vae: Any = self.vae
        if self.factor != 1.0:
            latent = latent / self.factor
        if self.shift != 0.0:
            latent = latent + self.shift
        image: torch.Tensor = vae.decode(latent, return_dict=False)[0]
        return image


def module(model: Model, structure: Structure) -> nn.Module:
    """A fresh eager module for a structure, fp32 eval.

    Raises:
        CaptureError: the model lacks what the structure asks for.
    """
    if structure.component == "text_encoder":
        return TextEncoder(model.part("text_encoder")).eval()
    if structure.component == "decoder":
        if structure.decoder == "tiny" and not model.has_tiny_decoder:
            raise CaptureError(
                f"The model {model.name} has no tiny decoder (tiny_vae); leave tiny-decoder out."
            )
        return Decoder(model.part("tiny_vae" if structure.decoder == "tiny" else "vae")).eval()
    unet: Any = model.part("unet")
    wanted = structure.denoiser
    if wanted.student:
        if model.layout.student is None:
            raise CaptureError(
                f"The model {model.name} has no few-step student (student_lora); leave student out."
            )
        merge(unet, model.layout.student)
    if wanted.fused_qkv:
        unet.fuse_qkv_projections()
        for attention in unet.modules():
            if hasattr(attention, "fused_projections"):
                _drop_unfused(attention)
    if wanted.merge_ratio > 0 and merge_tokens(unet, wanted.merge_ratio) == 0:
        raise CaptureError(
            f"The U-Net of {model.name} has no self-attention at its highest resolution;"
            " leave token-merging out."
        )
    kinds = {"denoiser": Denoiser, "denoiser_full": DenoiserFull, "denoiser_shallow": DenoiserShallow}
    return kinds[structure.component](unet).eval().requires_grad_(False)


def _drop_unfused(attention: Any) -> None:
    """The projections that the fused one replaces would only travel along in captures."""
    if hasattr(attention, "to_qkv"):
        for name in ("to_q", "to_k", "to_v"):
            delattr(attention, name)
    elif hasattr(attention, "to_kv"):
        for name in ("to_k", "to_v"):
            delattr(attention, name)
