"""Components as torch modules: inputs and outputs as docs/architecture.md's table orders them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from engines.capture.merging import merge_tokens
from engines.capture.structure import Structure, interface
from engines.errors import CaptureError
from engines.models import upscaler
from engines.models.kinds import decoder_kind, picture
from engines.models.kinds.unet import guidance_embedding
from engines.models.lora import merge

if TYPE_CHECKING:
    from engines.models.model import Model


class Adapted(nn.Module):
    """A network with the interface of a component: named inputs in order, what the graph holds as buffers."""

    def __init__(
        self,
        network: nn.Module,
        call: Callable[[Any, Mapping[str, torch.Tensor]], torch.Tensor | tuple[torch.Tensor, ...]],
        names: Sequence[str],
        constants: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self._call, self._names = call, tuple(names)
        self._constants = tuple(constants or {})
        for name, value in (constants or {}).items():
            self.register_buffer(name, value)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Adapted:
        """Tables of positions keep float32, also where the weights are halved."""
        before = {name: getattr(self, name) for name in self._constants}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, table in before.items():
            setattr(self, name, table.to(getattr(self, name).device))
        return self

    def forward(self, *given: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        named = dict(zip(self._names, given, strict=True))
        named |= {name: getattr(self, name) for name in self._constants}
        return self._call(self.network, named)


class _Split(nn.Module):
    """A U-Net taken apart at its last up block (Ma et al., "DeepCache", arXiv 2312.00858, section 3.2)."""

    def __init__(self, unet: Any, names: Sequence[str]) -> None:
        super().__init__()
        self.unet = unet
        self._names = tuple(names)

    def _named(self, given: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        return dict(zip(self._names, given, strict=True))

    def _time(self, given: Mapping[str, torch.Tensor]) -> torch.Tensor:
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
    def _entering(given: Mapping[str, torch.Tensor]) -> torch.Tensor:
        sample = given["sample"]
        return torch.cat([sample, given["picture"]], dim=1) if "picture" in given else sample

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

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        unet: Any = self.unet
        given = self._named(inputs)
        embeddings, time = given["embeddings"], self._time(given)
        sample = unet.conv_in(self._entering(given))
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
        given = self._named(inputs)
        embeddings, feature, time = given["embeddings"], given["feature"], self._time(given)
        sample = unet.conv_in(self._entering(given))
        _, more = self._down(unet.down_blocks[0], sample, time, embeddings)
        sample = self._up(unet.up_blocks[-1], feature, (sample, *more), time, embeddings)
        return self._out(sample)


def module(model: Model, structure: Structure) -> nn.Module:
    """A fresh eager module for a structure, fp32 eval.

    Raises:
        CaptureError: the model lacks what the structure asks for.
    """
    name = structure.component
    names = [spec.name for spec in interface(model, structure)[0]]
    if name.startswith("denoiser"):
        return _denoiser(model, structure, names).eval().requires_grad_(False)
    if name.startswith("text_encoder"):
        use = next(one for one in model.texts if one.part == name)
        kind = model.text_kind(name)

        def encode(network: Any, given: Mapping[str, torch.Tensor]) -> Any:
            found = kind.run(network, given, use)
            return found if len(found) > 1 else found[0]

        return Adapted(model.part(name), encode, names).eval()
    if name == "decoder":
        if structure.decoder == "tiny" and not model.has_tiny_decoder:
            raise CaptureError(
                f"The model {model.name} has no tiny decoder (tiny_vae); leave tiny-decoder out."
            )
        part = "tiny_vae" if structure.decoder == "tiny" else "vae"
        decoder = decoder_kind(model.layout.parts[part].kind)
        assert decoder is not None  # the layout was examined
        return Adapted(
            model.part(part), lambda network, given: decoder.run(network, given["latent"]), names
        ).eval()
    if name == "upscaler":
        return Adapted(model.part(name), upscaler.run, names).eval()
    if name == "picture_encoder":
        return Adapted(
            model.part("vae"), lambda network, given: picture.encoded(network, given["picture"]), names
        ).eval()
    assert name == "image_encoder", name
    seen = model.part_config("feature_extractor")
    mean, spread = seen.get("image_mean", picture.MEAN), seen.get("image_std", picture.SPREAD)
    side = int(model.part_config(name).get("image_size", picture.SIDE))
    return Adapted(
        model.part(name),
        lambda network, given: picture.vision(network, given["picture"], mean, spread, side),
        names,
    ).eval()


def _denoiser(model: Model, structure: Structure, names: Sequence[str]) -> nn.Module:
    network: Any = model.part(model.layout.denoiser)
    kind, wanted, latent = model.denoiser_kind, structure.denoiser, structure.latent
    if wanted.student:
        if model.layout.student is None:
            raise CaptureError(
                f"The model {model.name} has no few-step student (student_lora); leave student out."
            )
        merge(network, model.layout.student)
    if wanted.fused_qkv:
        if not hasattr(network, "fuse_qkv_projections"):
            raise CaptureError(
                f"The {kind.title} of {model.name} has no projections to fuse; leave fused-qkv out."
            )
        network.fuse_qkv_projections()
        for attention in network.modules():
            if hasattr(attention, "fused_projections"):
                _drop_unfused(attention)
    if wanted.merge_ratio > 0 and (not kind.cacheable or merge_tokens(network, wanted.merge_ratio) == 0):
        raise CaptureError(
            f"The {kind.title} of {model.name} has no self-attention at its highest resolution that"
            " tokens can be merged around; leave token-merging out."
        )
    if structure.component == "denoiser_full":
        return DenoiserFull(network, names)
    if structure.component == "denoiser_shallow":
        return DenoiserShallow(network, names)
    constants = kind.constants(network, model, latent)
    return Adapted(network, lambda inner, given: kind.run(inner, given, latent), names, constants)


def _drop_unfused(attention: Any) -> None:
    """The projections that the fused one replaces would only travel along in captures."""
    if hasattr(attention, "to_qkv"):
        for name in ("to_q", "to_k", "to_v"):
            delattr(attention, name)
    elif hasattr(attention, "to_kv"):
        for name in ("to_k", "to_v"):
            delattr(attention, name)
