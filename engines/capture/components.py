"""Components as torch modules: inputs and outputs as docs/architecture.md's table orders them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from engines.backends.triton_norm import fuse_norms
from engines.capture.cascade_parts import CascadePart
from engines.capture.gating import Gated
from engines.capture.low_rank import split
from engines.capture.merging import merge_tokens
from engines.capture.pruning import prune, sparsify
from engines.capture.staging import TransformerStage
from engines.capture.structure import STAGES, Structure, interface
from engines.capture.unet_parts import Part, UNetPart
from engines.errors import CaptureError
from engines.hostloop.passes import GATED, SPLIT
from engines.models import upscaler
from engines.models.kinds import decoder_kind, picture
from engines.models.kinds.cascade import CascadePrior
from engines.models.lora import merge

if TYPE_CHECKING:
    from engines.models.model import Model


Call = Callable[[Any, Mapping[str, torch.Tensor]], "torch.Tensor | tuple[torch.Tensor, ...]"]


class Adapted(nn.Module):
    """A network with the interface of a component: named inputs in order, what the graph holds as buffers."""

    def __init__(
        self,
        network: nn.Module,
        call: Call,
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
                f"The model {model.name} has no tiny decoder; give one as MODEL + tiny-decoder=FOLDER,"
                " or leave tiny-decoder out."
            )
        part = "tiny_vae" if structure.decoder == "tiny" else "vae"
        decoder = decoder_kind(model.layout.parts[part].kind)
        assert decoder is not None  # the layout was examined
        return Adapted(
            model.part(part), lambda network, given: decoder.run(network, given["latent"]), names
        ).eval()
    if name == "diffusion_decoder":
        second = model.diffusion_decoder_kind
        assert second is not None  # it has an interface
        return Adapted(model.part(name), second.run, names).eval()
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
                f"The model {model.name} has no few-step student; give one as MODEL + student=FILE,"
                " or leave student out."
            )
        merge(network, model.layout.student, prefix=f"{model.layout.denoiser}.")
    if wanted.pruned and prune(network, wanted.pruned) == 0:
        raise CaptureError(
            f"The {kind.title} of {model.name} has no inner channels that can be removed; leave pruning out."
        )
    if wanted.sparse and sparsify(network) == 0:
        raise CaptureError(
            f"The {kind.title} of {model.name} has no matrix products wide enough for 2:4 sparsity;"
            " leave sparse-24 out."
        )
    if wanted.fused_qkv:
        if not hasattr(network, "fuse_qkv_projections"):
            raise CaptureError(
                f"The {kind.title} of {model.name} has no projections to fuse; leave fused-qkv out."
            )
        network.fuse_qkv_projections()
        for attention in network.modules():
            if hasattr(attention, "fused_projections"):
                _drop_unfused(attention)
    if wanted.merge_ratio > 0 and (not kind.merges or merge_tokens(network, wanted.merge_ratio) == 0):
        raise CaptureError(
            f"The {kind.title} of {model.name} has no self-attention that tokens can be merged around;"
            " leave token-merging out."
        )
    if wanted.fused_norm and fuse_norms(network) == 0:
        raise CaptureError(
            f"The {kind.title} of {model.name} has no residual blocks whose norms can be fused; leave"
            " fused-norm out."
        )
    if wanted.low_rank and split(network, wanted.low_rank) == 0:
        raise CaptureError(
            f"The {kind.title} of {model.name} has no matrix products wide enough for a branch of rank"
            f" {wanted.low_rank}; choose a smaller rank or leave svdquant out."
        )

    def run(inner: Any, given: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return kind.run(inner, given, latent)

    call = _in_parts(model, structure, network, run)
    return Adapted(network, call, names, kind.constants(network, model, latent))


def _in_parts(
    model: Model, structure: Structure, network: Any, run: Callable[[Any, Mapping[str, torch.Tensor]], Any]
) -> Call:
    """How the part of the denoiser that is asked for is called; the network is changed in place."""
    kind, wanted = model.denoiser_kind, structure.denoiser
    latent, name = structure.latent, structure.component
    call: Call = run

    def u_net(part: Part) -> Call:
        made = CascadePart if isinstance(kind, CascadePrior) else UNetPart
        return made(network, run, part, latent)

    if stage := STAGES.get(name):
        if kind.cacheable:
            return u_net(stage)
        assert kind.blocks is not None  # it has an interface
        return TransformerStage(network, run, stage, latent, wanted, kind.blocks)
    if name not in SPLIT + GATED:
        return call
    if wanted.cached:
        call = u_net("full" if name in (SPLIT[0], GATED[0]) else "shallow")
    if wanted.gated and not (wanted.cached and name == SPLIT[1]):
        frozen = name in (GATED if wanted.cached else SPLIT[1:])
        ends = kind.outer_attention(model, latent) if name == GATED[1] else None
        given = ("attention" if wanted.cached else "feature") if frozen else ""
        call = Gated(network, call, given=given, ends=ends)
    return call


def _drop_unfused(attention: Any) -> None:
    """The projections that the fused one replaces would only travel along in captures."""
    if hasattr(attention, "to_qkv"):
        for name in ("to_q", "to_k", "to_v"):
            delattr(attention, name)
    elif hasattr(attention, "to_kv"):
        for name in ("to_k", "to_v"):
            delattr(attention, name)
