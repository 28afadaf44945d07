"""Kinds of components, found by the class that a model names."""

from __future__ import annotations

from engines.models.kinds import decoders, text
from engines.models.kinds.base import DecoderKind, DenoiserKind, DiffusionDecoderKind, TextKind
from engines.models.kinds.cascade import CascadeDecoder, CascadePrior
from engines.models.kinds.flux import Flux
from engines.models.kinds.hunyuan import HunyuanDiT
from engines.models.kinds.pixart import PixArt
from engines.models.kinds.sana import Sana
from engines.models.kinds.sd3 import SD3
from engines.models.kinds.unet import UNet
from engines.models.kinds.video_transformer import Ltx, Wan
from engines.models.kinds.video_unet import ImageToVideo, TextToVideo

DENOISERS: tuple[DenoiserKind, ...] = (
    UNet(), PixArt(), SD3(), Flux(), HunyuanDiT(), Sana(), TextToVideo(), ImageToVideo(), Ltx(), Wan(),
    CascadePrior(),
)  # fmt: skip
DIFFUSION_DECODERS: tuple[DiffusionDecoderKind, ...] = (CascadeDecoder(),)


def denoiser_kind(name: str) -> DenoiserKind | None:
    """The adapter of a denoiser's class; `None` where there is none."""
    return next((kind for kind in DENOISERS if name in kind.classes), None)


def diffusion_decoder_kind(name: str) -> DiffusionDecoderKind | None:
    """The adapter of a diffusion decoder's class; `None` where there is none."""
    return next((kind for kind in DIFFUSION_DECODERS if name in kind.classes), None)


def text_kind(name: str) -> TextKind | None:
    """The adapter of a text encoder's class; `None` where there is none."""
    return next((kind for kind in text.KINDS if name in kind.classes), None)


def decoder_kind(name: str) -> DecoderKind | None:
    """The adapter of a decoder's class; `None` where there is none."""
    return next((kind for kind in decoders.KINDS if name in kind.classes), None)


__all__ = [
    "DENOISERS",
    "DIFFUSION_DECODERS",
    "DecoderKind",
    "DenoiserKind",
    "DiffusionDecoderKind",
    "TextKind",
    "decoder_kind",
    "denoiser_kind",
    "diffusion_decoder_kind",
    "text_kind",
]
