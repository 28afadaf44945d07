"""What a kind of component is: how to describe it, and how to call it.  Light: torch comes with the modules.

One adapter for each kind of denoiser, text encoder and decoder; a family is
whatever is made of known kinds.  What depends on the prompt, the seed or the
workload is an input of the component; what depends on the size of the picture
alone (packing into patches, positions, rotary tables) belongs to its graph.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from engines.hostloop.settings import Clean, Condition
from engines.models.kinds.blocks import PLAIN, Blocks, Stages, unet_stages
from engines.plan import DenoiserStructure

if TYPE_CHECKING:
    import torch

    from engines.models.model import Model

Config = Mapping[str, Any]
Latent = tuple[int, ...]
"""(C, h, w), of video (C, F, h, w)"""
Tensors = Mapping[str, "torch.Tensor"]
Split = Literal["stages", "blocks", "deep", "attention"]
"""After its first block; anywhere between equal blocks; around a U-Net's deep part; at cross-attention."""


@dataclass(frozen=True, slots=True)
class TextUse:
    """How a denoiser uses one of its text encoders."""

    part: str
    length: int | None = None
    """Tokens; the encoder's own number where not given."""
    layer: int = -1
    """Which hidden state the embeddings are: the last, normalised (-1), the one before it (-2), or the one
    after so many layers, not normalised."""
    embeddings: bool = True
    pooled: bool = False
    masked: bool = False
    """The encoder sees which tokens are padding."""
    blank: bool = False
    """Embeddings of padding are zeros."""
    clean: Clean = "none"
    prefix: str = ""
    keep: int = 0
    """See `engines.hostloop.settings.Encoder`."""


class DenoiserKind(ABC):
    """One kind of denoiser."""

    classes: ClassVar[tuple[str, ...]]
    title: ClassVar[str]
    size: ClassVar[int] = 512
    """Native pixels along one side where the settings do not say."""
    frames: ClassVar[int] = 0
    """Native frames; 0 for pictures."""
    steps: ClassVar[int] = 50
    guidance: ClassVar[float] = 5.0
    cacheable: ClassVar[bool] = False
    """It is a U-Net that can be taken apart around its deep part (`engines.capture.unet_parts`)."""
    merges: ClassVar[bool] = False
    """Tokens can be merged around its self-attention."""
    embedded_guidance: ClassVar[bool] = False
    blocks: ClassVar[Blocks | None] = None
    """Of a transformer: what its split has to know; `None` where it is not split block by block."""

    @property
    def splits(self) -> frozenset[Split]:
        """In which ways it can be taken apart, for techniques that leave a part out."""
        found: set[Split] = {"stages", "deep"} if self.cacheable else set()
        if self.blocks is not None:
            found |= {"stages", "blocks"}
            found |= {"attention"} if self.blocks.crossed else set()
        return frozenset(found)

    def objection(self, model: Model) -> str | None:
        """What of this model's denoiser cannot be captured, as the end of a sentence."""
        del model
        return None

    def channels(self, model: Model) -> int:
        """Of the latent."""
        return int(self.config(model)["in_channels"])

    def config(self, model: Model) -> Config:
        return model.denoiser.config

    def latent_side(self, model: Model) -> int:
        """Native side of the latent."""
        found = self.config(model).get("sample_size")
        if isinstance(found, list | tuple):
            found = found[0]
        return int(found) if found else self.size // model.scale

    def alignment(self, model: Model) -> int:
        """Latent sides must be multiples of this."""
        return int(self.config(model).get("patch_size") or 1)

    def latent(self, model: Model, side: int, frames: int) -> Latent:
        """The shape that is denoised for a side of the decoder's latent and a number of latent frames."""
        if self.frames:
            return (self.channels(model), frames, side, side)
        return (self.channels(model), side, side)

    def fits(self, model: Model, latent: Latent) -> bool:
        """Whether it can draw latents of this shape."""
        return not any(side % self.alignment(model) for side in latent[-2:])

    @abstractmethod
    def texts(self, model: Model) -> tuple[TextUse, ...]:
        """The text encoders and how each is used."""

    @abstractmethod
    def conditions(self, model: Model, latent: Latent) -> tuple[Condition, ...]:
        """The inputs beside `sample` and `timestep`, in the order of the graph, and what they are made of."""

    def scheduler(self, model: Model, latent: Latent) -> Config:
        """Settings that the pipeline gives its scheduler for this size."""
        del model, latent
        return {}

    def settings(self, model: Model, latent: Latent) -> dict[str, Any]:
        """Further fields of `LoopSettings`."""
        del model, latent
        return {}

    def patches(self, model: Model, latent: Latent) -> int:
        """Of a transformer: tokens of the picture or the video."""
        side, config = self.alignment(model), self.config(model)
        moments = math.prod(latent[1:-2]) // int(config.get("patch_size_t") or 1)
        return moments * (latent[-2] // side) * (latent[-1] // side)

    def attention_size(self, model: Model, latent: Latent) -> int:
        """Numbers that its cross-attention layers answer for one row; 0 where they cannot be frozen."""
        if self.blocks is None or not self.blocks.crossed:
            return 0
        config = self.config(model)
        return self.patches(model, latent) * self.blocks.width(config) * self.blocks.count(config)

    def outer_attention(self, model: Model, latent: Latent) -> tuple[int, int]:
        """How many of these the first down block and the last up block of a U-Net answer."""
        del model, latent
        return 0, 0

    def stages(self, model: Model, latent: Latent, wanted: DenoiserStructure = PLAIN) -> Stages | None:
        """What it hands on where it is split as `wanted`; `None` where it cannot be."""
        if self.cacheable:
            return unet_stages(self.config(model), latent)
        if self.blocks is None:
            return None
        text = self.conditions(model, latent)[0].shape[0] if self.blocks.joint else 0
        return self.blocks.stages(self.config(model), self.patches(model, latent), text, wanted)

    def constants(self, network: Any, model: Model, latent: Latent) -> dict[str, torch.Tensor]:
        """Tensors that the graph holds: tables of positions and the like."""
        del network, model, latent
        return {}

    @abstractmethod
    def run(self, network: Any, given: Tensors, latent: Latent) -> torch.Tensor:
        """The prediction, (B, *latent), from `sample`, `timestep` (B,), the conditions and the constants."""


class DiffusionDecoderKind(ABC):
    """One kind of diffusion decoder: a denoiser between another one's latent and the decoder."""

    classes: ClassVar[tuple[str, ...]]
    title: ClassVar[str]

    @abstractmethod
    def steps(self, steps: int) -> int:
        """Of its own, where the denoiser takes `steps`."""

    @abstractmethod
    def latent(self, model: Model, latent: Latent) -> Latent:
        """The shape that it denoises, where the denoiser's is `latent`."""

    @abstractmethod
    def conditions(self, model: Model, latent: Latent) -> tuple[Condition, ...]:
        """Its inputs beside `sample` and `timestep`; `latent` is the denoiser's shape."""

    @abstractmethod
    def run(self, network: Any, given: Tensors) -> torch.Tensor:
        """The prediction, of the shape of `sample`."""


class TextKind(ABC):
    """One kind of text encoder."""

    classes: ClassVar[tuple[str, ...]]
    begin: ClassVar[tuple[str, str] | None] = None
    end: ClassVar[tuple[str, str] | None] = None
    """What stands around a text: a key of `tokenizer_config.json`, and the token where it is not given."""
    padding: ClassVar[str | None] = "<pad>"
    """What fills up a text where the tokenizer does not say; `None`: the token at its end."""

    def length(self, config: Config) -> int:
        return int(config.get("max_position_embeddings") or 77)

    @abstractmethod
    def width(self, config: Config) -> int:
        """Of the embeddings."""

    def pooled_width(self, config: Config) -> int:
        return self.width(config)

    def vocabulary(self, config: Config) -> int:
        return int(config["vocab_size"])

    @abstractmethod
    def run(self, network: Any, given: Tensors, use: TextUse) -> tuple[torch.Tensor, ...]:
        """What `use` asks for: embeddings (B, T, D), then the pooled ones (B, P)."""


class DecoderKind(ABC):
    """One kind of decoder: what turns a latent into a picture or a video."""

    classes: ClassVar[tuple[str, ...]]
    video: ClassVar[bool] = False
    """Decodes whole videos; others are given one frame after the other."""

    @abstractmethod
    def scale(self, config: Config) -> int:
        """Pixels for each latent position, along one side."""

    def latent_frames(self, config: Config, frames: int) -> int:
        """Latent frames that make so many frames."""
        del config
        return frames

    def frames(self, config: Config, latent_frames: int) -> int:
        """The inverse."""
        del config
        return latent_frames

    def unscaled(self, network: Any, latent: torch.Tensor) -> torch.Tensor:
        """Undo the scaling that the denoiser's latent has."""
        factor = float(getattr(network.config, "scaling_factor", None) or 1.0)
        shift = float(getattr(network.config, "shift_factor", None) or 0.0)
        if factor != 1.0:
            latent = latent / factor
        return latent + shift if shift != 0.0 else latent

    @abstractmethod
    def run(self, network: Any, latent: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) or (B, 3, F, H, W) in [-1, 1]"""
